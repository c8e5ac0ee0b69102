"""The files that one running ranker keeps under `DATA_DIR/run`, and the lock that says whether it still runs."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.kernel.config import ConfigError

MARK_VARIABLE: Final = "WINNOW_RAY_OF"
LONGEST_ROOT_BYTES: Final = 40
"""Ray appends up to 66 bytes to its temporary folder for its sockets, whose paths may have 107 bytes."""
TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class RunFolder:
    """What is in `DATA_DIR/run`: `ray.lock`, `ray.json` (the pid file), `ranking_token` and Ray's temporary files."""

    path: Path

    @property
    def mark(self) -> str:
        """NAME=VALUE in the environment of each process that belongs to this folder's Ray."""
        return f"{MARK_VARIABLE}={self.path}"

    @property
    def ray_dir(self) -> Path:
        """Ray's temporary folder: in here, or under the system's one where this path is too long for sockets."""
        own = self.path / "ray"
        if len(os.fsencode(own)) <= LONGEST_ROOT_BYTES:
            return own
        digest = hashlib.sha256(os.fsencode(own)).hexdigest()[:8]
        return Path(tempfile.gettempdir()) / f"winnow-{os.getuid()}-{digest}" / "ray"

    def make_ray_dir(self) -> Path:
        """An empty folder for Ray. Ray lets everybody into it, so the one around it is closed to all others.

        Raises:
            ConfigError: it cannot be made, or belongs to somebody else.
        """
        self.remove_ray_dir()
        around = self.ray_dir.parent
        try:
            around.mkdir(mode=0o700, exist_ok=True)
            around.chmod(0o700)
            self.ray_dir.mkdir()
        except OSError as error:
            raise ConfigError(f"{self.ray_dir}: Ray's temporary folder cannot be made: {error}") from error
        return self.ray_dir

    def remove_ray_dir(self) -> None:
        """Take away what Ray left."""
        around = self.ray_dir.parent
        shutil.rmtree(self.ray_dir if around == self.path else around, ignore_errors=True)

    def write_pid(self, pid: int) -> None:
        """Note which process supervises Ray, for operators and for the message of a second start."""
        _write(self.path / "ray.json", json.dumps({"pid": pid, "ray_dir": str(self.ray_dir)}))

    def remove_pid(self) -> None:
        """Ray does not run any more."""
        (self.path / "ray.json").unlink(missing_ok=True)

    def token(self) -> str:
        """The token of this data folder's ranker, made at the first call. Only the owner can read it."""
        file = self.path / "ranking_token"
        if not file.exists():
            _write(file, secrets.token_urlsafe(TOKEN_BYTES))
        return file.read_text(encoding="utf-8").strip()


@contextmanager
def open_run_folder(path: Path) -> Iterator[RunFolder]:
    """Own the folder; the kernel gives it free when this process ends, however it ends.

    Raises:
        ConfigError: it cannot be written, or another process owns it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (path / "ray.lock").open("a+")
    except OSError as error:
        raise ConfigError(f"{path}: this folder must be writable: {error}; set WINNOW_DATA_DIR") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"{path}: another process runs the ranker of this folder; stop it or set another WINNOW_DATA_DIR"
            ) from None
        yield RunFolder(path)


def _write(file: Path, content: str) -> None:
    """Replace a file by one that only the owner can read.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        handle, staging = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        Path(staging).replace(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error}; make room there, or set WINNOW_DATA_DIR") from error
