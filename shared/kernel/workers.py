"""Several processes of one service on one port: the system gives each new connection to one of them (SO_REUSEPORT).

One Python process answers on one core. Whoever has more cores and one machine sets `WINNOW_<SERVICE>_WORKERS`; on a
cluster there are replicas instead. The process that was started answers nothing: it starts the others by its own
command, starts one again that ends by itself, and ends with them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from shared.kernel.config import ConfigError
from shared.kernel.process import run_until_signal

NUMBER_VARIABLE: Final = "WINNOW_WORKER_NUMBER"
"""Which worker a process is, from 0; set by the process that starts it, and by nobody else."""
UNUSABLE_EXIT: Final = 2
"""Exit code of a worker that cannot work as it is set up: starting it again would not help."""
SHORT_LIFE_S: Final = 10.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
"""Before a worker is started again that ended soon after its start."""

_log = structlog.get_logger()


def worker_number() -> int | None:
    """This process's number among the workers of a service; None: it is not one of several."""
    number = os.environ.get(NUMBER_VARIABLE)
    return None if number is None else int(number)


def follow_starter() -> None:
    """Stop when the process that started this worker is gone, however it went: its end of our input closes then."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="starter", daemon=True).start()


def run_workers(count: int, address: str) -> int:
    """Run so many workers of this very command until a signal; gives the exit code.

    Raises:
        ConfigError: the address is taken. Workers share it, so they themselves would not notice.
    """
    _assert_free(address)
    crew = _Crew(count)
    run_until_signal(crew.working)
    return UNUSABLE_EXIT if crew.unusable else 0


class _Crew:
    def __init__(self, count: int) -> None:
        self._count = count
        self._stopping = asyncio.Event()
        self.unusable = False

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._count):
                tasks.create_task(self._keep(number), name=f"worker {number}")
            yield
            self._stopping.set()

    async def _keep(self, number: int) -> None:
        """One worker, started again whenever it ends by itself."""
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._live(number)
            if self._stopping.is_set():
                return
            _log.error("worker ended by itself", worker=number, code=code)
            if code == UNUSABLE_EXIT:  # it has said why
                self.unusable = True
                os.kill(os.getpid(), signal.SIGTERM)
                return
            pause_s = FIRST_PAUSE_S if time.monotonic() - began > SHORT_LIFE_S else min(2 * pause_s, LONGEST_PAUSE_S)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    async def _live(self, number: int) -> int:
        """From a worker's start to its end; gives its exit code. Its input stays open as long as this process lives."""
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            *sys.orig_argv[1:],
            stdin=asyncio.subprocess.PIPE,
            env={**os.environ, NUMBER_VARIABLE: str(number)},
            start_new_session=True,  # a terminal's Ctrl-C goes to this process alone, which passes it on once
        )
        _log.info("worker started", worker=number, pid=worker.pid)
        ended, stopping = asyncio.create_task(worker.wait()), asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            worker.terminate()
        return await ended


def _assert_free(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        ((family, kind, protocol, _, place), *_) = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM
        )
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before may still be closing
            probe.bind(place)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"workers cannot share {address}: {error}; free the port, or set another address with a port of its own"
        ) from error
