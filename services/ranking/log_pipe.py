"""Brings the log lines of replicas to the standard error of the process that started Ray.

Ray sends the output of its workers to files of its own, and Ray Serve replaces `sys.stderr` in replicas. A named pipe
gets past both: replicas come and go while its reader stays.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 1 << 16


class LogPipe(io.TextIOBase):
    """The end that a replica writes to. Lines are dropped, never waited for, while the reader does not keep up.

    Args:
        path: a named pipe.
        terminal: whether the lines end up on a terminal, so that they are written for people.
    """

    def __init__(self, path: Path, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)  # for reading, too: opens without a reader

    def write(self, text: str) -> int:
        """Send the text as it is."""
        try:
            os.write(self._pipe, text.encode())
        except BlockingIOError:
            return 0
        return len(text)

    def isatty(self) -> bool:
        """Whether to write for people."""
        return self._terminal

    def close(self) -> None:
        """Let go of the pipe."""
        if not self.closed:
            os.close(self._pipe)
        super().close()


def make_log_pipe(path: Path) -> Path:
    """Make a named pipe that only the owner can use."""
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)
    return path


def forward(path: Path, target: int) -> None:
    """Copy what arrives in the pipe to a file descriptor, for ever."""
    pipe = os.open(path, os.O_RDWR)  # for writing, too: it does not end when the last replica goes
    while chunk := os.read(pipe, CHUNK_BYTES):
        os.write(target, chunk)
