"""A disk that fills up: a small tmpfs where one can be mounted, else SQLite's own limit, which gives the same error."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from shared.domain.event_log import EventLog

SIZE_BYTES = 4 << 20


class SmallDisk(Protocol):
    """A folder whose disk can be filled and freed while a log is open on it."""

    folder: Path

    def fill(self, log: EventLog) -> None:
        """Leave no room."""

    def free(self, log: EventLog) -> None:
        """Make room again."""


class SmallTmpfs:
    """A mounted tmpfs of 4 MiB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, log: EventLog) -> None:
        with (self.folder / "filler").open("ab", buffering=0) as filler, suppress(OSError):
            while filler.write(bytes(4096)):
                pass
        assert shutil.disk_usage(self.folder).free == 0

    def free(self, log: EventLog) -> None:
        (self.folder / "filler").unlink()


class SmallDatabase:
    """A log whose database may not grow: for machines on which tests may not mount."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, log: EventLog) -> None:
        self._limit(log, 1)  # below its present size: SQLite takes the present size

    def free(self, log: EventLog) -> None:
        self._limit(log, 1 << 30)

    def _limit(self, log: EventLog, pages: int) -> None:
        log._writer._connection.execute(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]


def mount(folder: Path, size_bytes: int) -> bool:
    """Mount a tmpfs; False where tests may not."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def make_read_only(folder: Path) -> None:
    """Take the right to write from a mounted folder, or where nothing could be mounted from a plain one."""
    if subprocess.run(["mount", "-o", "remount,ro", folder], capture_output=True, check=False).returncode:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o500)


def unmount(folder: Path) -> None:
    """Take a mounted folder away; one that is not mounted gets its rights back."""
    if subprocess.run(["umount", "-l", folder], capture_output=True, check=False).returncode:
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o700)


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """The best that this machine allows."""
    folder.mkdir()
    if not mount(folder, SIZE_BYTES):
        yield SmallDatabase(folder)
        return
    try:
        yield SmallTmpfs(folder)
    finally:
        unmount(folder)
