"""A server that gets more calls than it can answer: it refuses at once, and goes on as soon as the flood is over."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import grpc

from shared.kernel.admission import RequestLimits
from shared.kernel.client import ChannelOptions
from shared.kernel.server import ServerOptions
from tests.integration.kernel_servers import Context, Request, Response, calling, serving

ASKED = Request(recommendation_id="r-1")
WORK_S = 0.02
FLOOD = 300
OPTIONS = ServerOptions(limits=RequestLimits(backlog_ms=100), drain_grace_ms=0)


async def work(request: Request, context: Context) -> Response:
    """Keeps the process busy, as computing does."""
    end = time.thread_time() + WORK_S
    while time.thread_time() < end:
        pass
    return Response()


async def ended(call: grpc.aio.UnaryUnaryCall[Request, Response]) -> tuple[grpc.StatusCode, str]:
    """How a call ended."""
    return await call.code(), await call.details()


async def test_a_flood_is_refused_at_once_and_when_it_is_over_calls_are_answered_again() -> None:
    async with serving(OPTIONS, GetSlate=work) as address, calling(address, ChannelOptions(timeout_ms=60_000)) as stub:
        ends = await asyncio.gather(*(ended(stub.GetSlate(ASKED)) for _ in range(FLOOD)))

        found = Counter(code for code, _ in ends)
        assert set(found) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert found[grpc.StatusCode.RESOURCE_EXHAUSTED] > found[grpc.StatusCode.OK]
        assert all(
            "before they are taken up" in details
            for code, details in ends
            if code is grpc.StatusCode.RESOURCE_EXHAUSTED
        )

        async with asyncio.timeout(60):
            while await stub.GetSlate(ASKED).code() is not grpc.StatusCode.OK:
                pass


async def test_calls_one_after_the_other_are_no_flood() -> None:
    patient = ServerOptions(limits=RequestLimits(backlog_ms=5_000), drain_grace_ms=0)
    async with serving(patient, GetSlate=work) as address, calling(address) as stub:
        codes = [await stub.GetSlate(ASKED).code() for _ in range(30)]

    assert set(codes) == {grpc.StatusCode.OK}
