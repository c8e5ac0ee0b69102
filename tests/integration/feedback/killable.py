"""A feedback service in a process of its own that a test can kill.

The processes are forked from a server that has imported everything already: a start costs a third of a second instead
of two.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from services.feedback.app import open_feedback
from services.feedback.settings import FeedbackSettings
from shared.kernel.clock import system_clock
from shared.kernel.config import load
from shared.kernel.hosting import run_process, serving

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__])
IDS_IN_MEMORY = 64
"""So few that processes die while they write and merge the runs of ids."""


class FeedbackProcess:
    """One process over a data folder, with more settings where they are given."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self._told, child = FORKS.Pipe(duplex=False)
        self._process = FORKS.Process(target=serve, args=(data_dir, child, settings))
        self._process.start()
        child.close()

    async def address(self) -> str:
        """Where it listens, as soon as it does.

        Raises:
            EOFError: it ended before.
        """
        address: str = await asyncio.to_thread(self._told.recv)
        return address

    def memory_kib(self) -> int:
        """Memory of its own, without what the kernel keeps of files."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("RssAnon:")).split()[1])

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        await asyncio.to_thread(self._process.join)
        self._told.close()


def serve(data_dir: Path, tell: Connection, more: dict[str, object]) -> None:
    """What the process does: the whole service, as `python -m services.feedback` runs it."""
    os.environ["WINNOW_LOG_LEVEL"] = "error"

    @asynccontextmanager
    async def app() -> AsyncIterator[None]:
        ports = {"address": "127.0.0.1:0", "metrics_port": 0}
        settings = load(FeedbackSettings, data_dir=data_dir, **{"ids_in_memory": IDS_IN_MEMORY, **ports, **more})
        async with open_feedback(settings, system_clock) as service, serving(settings, [service.hosted]) as server:
            tell.send(server.address)
            yield

    run_process("feedback", app)
