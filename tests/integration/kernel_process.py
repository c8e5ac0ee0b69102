"""A process for the tests of signals: one service whose method ends when a line comes in on standard input.

Run as `python -m tests.integration.kernel_process [stuck]`; `stuck` never finishes opening. Tells on standard output
the address it listens on, and when it works on a request.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.kernel.config import load
from shared.kernel.process import ProcessSettings, process, run_until_signal
from shared.kernel.server import GrpcServer
from tests.integration.kernel_servers import Context, Request, Response, hosted


async def answer(request: Request, context: Context) -> Response:
    """Waits for a line."""
    print("working", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    return Response()


@asynccontextmanager
async def app() -> AsyncIterator[None]:
    """Hosts the service."""
    if sys.argv[1:] == ["stuck"]:
        print("opening", flush=True)
        await asyncio.Event().wait()
    async with GrpcServer("127.0.0.1:0", [hosted(GetSlate=answer)]) as server:
        print(server.address, flush=True)
        yield


if __name__ == "__main__":
    with process(load(ProcessSettings), "test"):
        run_until_signal(app)
