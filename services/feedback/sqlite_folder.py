"""The folder of the embedded log: it can be written, and one process has it at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from shared.kernel.config import ConfigError

LOCK: Final = "lock"
FOLDER_MODE: Final = 0o700
REMEDY: Final = "set WINNOW_DATA_DIR to a folder that can be written"


@contextmanager
def locked_folder(path: Path) -> Iterator[Path]:
    """Makes the folder where it is missing and holds its lock; the lock goes with the process, however it ends.

    Args:
        path: `<data dir>/feedback`. The data folder is made too; the folder that it stands in must be there.

    Raises:
        ConfigError: the parent is missing, the disk is full or read-only, or another process has the folder.
    """
    data_dir = path.parent
    if not data_dir.parent.is_dir():
        raise ConfigError(f"WINNOW_DATA_DIR={data_dir}: there is no folder {data_dir.parent}; make it or {REMEDY}")
    try:
        data_dir.mkdir(exist_ok=True)
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
        descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"the event log's folder {path} cannot be written ({error.strerror}); {REMEDY}") from error
    try:
        _lock(descriptor, path)
        yield path
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        raise ConfigError(
            f"the event log at {path} is in use by process {holder}: stop that process, call it over gRPC instead, "
            f"or set another WINNOW_DATA_DIR"
        ) from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:  # a full disk still has room for names
        raise ConfigError(
            f"the event log's folder {path} cannot be written ({error.strerror}); make room there, or {REMEDY}"
        ) from error
