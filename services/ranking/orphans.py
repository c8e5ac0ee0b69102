"""Finds and ends every process of one Ray, however it was started and whoever its parent is by now.

Ray's processes get new process groups, are adopted by init when their parent is killed, and change their command lines.
What they keep is the environment they were started with: Ray is started with a mark in it that names the data folder,
and whoever carries the mark belongs to it. A process id that was given to a foreign process in the meantime carries
none, and a pidfd makes sure that the process that is signalled is the one whose environment was read.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
PAUSE_SECONDS: Final = 0.01


class OrphansError(Exception):
    """Processes that do not end although they were killed."""


def marked(mark: str) -> list[int]:
    """Process ids of all living processes that were started with `mark` (NAME=VALUE) in their environment.

    The caller itself is never among them.
    """
    found = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())
    return [pid for pid in found if pid != os.getpid() and _carries(pid, mark)]


def kill_marked(mark: str, *, spare: frozenset[int] = frozenset(), patience_seconds: float = 10.0) -> int:
    """Kill all processes that carry the mark, those that they start meanwhile included, and wait until they are gone.

    Args:
        mark: NAME=VALUE.
        spare: process ids to leave alone.
        patience_seconds: how long a killed process may take to disappear; one in a stuck system call never does.

    Returns:
        How many were killed.

    Raises:
        OrphansError: some are still there after that time.
    """
    killed: set[int] = set()
    give_up = time.monotonic() + patience_seconds
    while living := [pid for pid in marked(mark) if pid not in spare]:
        if time.monotonic() > give_up:
            raise OrphansError(
                f"processes {sorted(living)} of an earlier Ray do not end; end them by hand and try again"
            )
        killed.update(pid for pid in living if _kill(pid, mark))
        time.sleep(PAUSE_SECONDS)
    return len(killed)


def _kill(pid: int, mark: str) -> bool:
    with _handle(pid) as handle:
        if handle is None or not _carries(pid, mark):
            return False
        try:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True


@contextmanager
def _handle(pid: int) -> Iterator[int | None]:
    """A handle that stays with this very process even when its id is given to another."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def _carries(pid: int, mark: str) -> bool:
    try:
        environment = (PROC / str(pid) / "environ").read_bytes()
    except OSError:  # gone, or another user's
        return False
    return os.fsencode(mark) in environment.split(b"\0")
