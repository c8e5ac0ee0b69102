"""How a process ends: by signal, in peace, and with an honest exit code."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.kernel.client import ChannelOptions
from shared.kernel.config import ConfigError
from shared.kernel.process import run_until_signal
from shared.kernel.server import GrpcServer
from tests.integration.kernel_servers import Request, Response, calling, hosted

ROOT = Path(__file__).parents[2]
ASKED = Request(recommendation_id="r-1")
PATIENT = ChannelOptions(timeout_ms=60_000)


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Process]:
    """The process of `kernel_process.py`, gone when the block ends."""
    environ = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/shared/stubs"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.kernel_process", *arguments),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        cwd=ROOT,
        env=environ,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def told(process: Process) -> str:
    """The next line of standard output."""
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


async def logged(process: Process, event: str) -> None:
    """Returns when the process has logged an event."""
    assert process.stderr is not None
    while json.loads(await process.stderr.readline())["event"] != event:
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_the_request_in_flight_end_and_exits_with_zero(number: signal.Signals) -> None:
    async with running() as process, calling(await told(process), PATIENT) as stub:
        answer = asyncio.ensure_future(stub.GetSlate(ASKED))
        assert await told(process) == "working"

        process.send_signal(number)
        await logged(process, "server.draining")
        assert process.stdin is not None
        process.stdin.write(b"go on\n")

        assert await answer == Response()
        assert await process.wait() == 0


async def test_a_second_signal_ends_it_at_once() -> None:
    async with running() as process, calling(await told(process), PATIENT) as stub:
        answer = asyncio.ensure_future(stub.GetSlate(ASKED))
        assert await told(process) == "working"
        process.send_signal(signal.SIGTERM)
        await logged(process, "server.draining")

        process.send_signal(signal.SIGTERM)

        assert await process.wait() == 128 + signal.SIGTERM
        answer.cancel()


async def test_a_signal_while_it_opens_ends_it_too() -> None:
    async with running("stuck") as process:
        assert await told(process) == "opening"

        process.send_signal(signal.SIGTERM)

        assert await process.wait() == 0


def test_what_stops_the_start_comes_out_as_it_is() -> None:
    with pytest.raises(ConfigError, match="cannot listen on 192"):
        run_until_signal(lambda: GrpcServer("192.0.2.1:1", [hosted()]))
