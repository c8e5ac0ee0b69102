"""Brings the log lines of replicas to the standard error of the process that started Ray.

Ray sends the output of its workers to files of its own, and Ray Serve replaces `sys.stderr` in replicas. A named pipe
gets past both: replicas come and go while its reader stays.
"""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Final

CHUNK_BYTES: Final = 1 << 16
LIMIT_CHARACTERS: Final = 1 << 20
"""Lines beyond this are dropped, never waited for, while the reader does not keep up."""
PAUSE_SECONDS: Final = 0.05
"""Lines of this time go together: a system call and two switches of process for each line cost a tenth of a request."""


class LogPipe(io.TextIOBase):
    """The end that a replica writes to.

    Args:
        path: a named pipe.
        terminal: whether the lines end up on a terminal, so that they are written for people.
    """

    def __init__(self, path: Path, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal
        self._lines: list[str] = []
        self._characters = 0
        self._lock = threading.Lock()
        self._written = threading.Event()
        self._closing = threading.Event()
        self._pipe = os.open(path, os.O_RDWR)  # for reading, too: opens, and stays open, without a reader
        self._sender = threading.Thread(target=self._send, name="logs", daemon=True)
        self._sender.start()

    def write(self, text: str) -> int:
        """Take the text to be sent soon."""
        with self._lock:
            if self._characters > LIMIT_CHARACTERS:
                return 0
            self._lines.append(text)
            self._characters += len(text)
        self._written.set()
        return len(text)

    def isatty(self) -> bool:
        """Whether to write for people."""
        return self._terminal

    def close(self) -> None:
        """Send what is left, unless nobody reads it, and let go of the pipe."""
        if not self.closed:
            self._closing.set()
            self._written.set()
            self._sender.join(timeout=1.0)
        super().close()

    def _send(self) -> None:
        while not self._closing.is_set():
            self._written.wait()
            self._closing.wait(PAUSE_SECONDS)
            self._written.clear()
            with self._lock:
                lines, self._lines, self._characters = self._lines, [], 0
            os.write(self._pipe, "".join(lines).encode())
        os.close(self._pipe)


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
