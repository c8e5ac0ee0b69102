"""Finds and ends every process of one Ray, however it was started and whoever its parent is by now.

Ray's processes get new process groups, are adopted by init when their parent is killed, and change their command lines.
What they keep is the environment they were started with: Ray is started with a mark in it that names the data folder,
and whoever carries the mark belongs to it. A process id that was given to a foreign process in the meantime carries
none, and a pidfd makes sure that the process that is signalled is the one whose environment was read.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from shared.kernel.config import ConfigError

PROC: Final = Path("/proc")


def marked(mark: str) -> list[int]:
    """Process ids of all living processes that were started with `mark` (NAME=VALUE) in their environment.

    The caller itself is never among them.
    """
    found = (int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal())
    return [pid for pid in found if pid != os.getpid() and _carries(pid, mark)]


def kill_marked(mark: str, patience_seconds: float = 10.0) -> int:
    """Kill all processes that carry the mark, those that they start meanwhile included, and wait until they are gone.

    Args:
        mark: NAME=VALUE.
        patience_seconds: how long a killed process may take to disappear; one in a stuck system call never does.

    Returns:
        How many were killed.

    Raises:
        ConfigError: some are still there after that time.
    """
    killed = 0
    while living := marked(mark):
        with ExitStack() as stack:
            handles = {pid: handle for pid in living if (handle := stack.enter_context(_handle(pid))) is not None}
            victims = {pid: handle for pid, handle in handles.items() if _kill(pid, handle, mark)}
            if stuck := _still_there(victims, patience_seconds):
                raise ConfigError(f"processes {stuck} of an earlier Ray do not end; end them by hand and try again")
        killed += len(victims)
    return killed


def _kill(pid: int, handle: int, mark: str) -> bool:
    if not _carries(pid, mark):
        return False
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _still_there(victims: dict[int, int], patience_seconds: float) -> list[int]:
    """Wait for the end of processes, ports and files included: a handle tells it after they are closed."""
    give_up = time.monotonic() + patience_seconds
    stuck: list[int] = []
    for pid, handle in victims.items():
        end = select.poll()
        end.register(handle, select.POLLIN)
        if not end.poll(max(0.0, give_up - time.monotonic()) * 1000):
            stuck.append(pid)
    return stuck


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
