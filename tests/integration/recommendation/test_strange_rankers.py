"""What stands between the front and the ranker may answer anything: each such answer becomes a reason in `degraded`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from winnow.v1 import recommendation_service_pb2 as pb

from shared.clients.ranking import ServeRanking
from tests.integration.recommendation.served import Client, client_of
from tests.unit.recommendation.front import World

Behaviour = Callable[[bytes, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[bytes]]

FAILURES = {code: "unavailable" for code in StatusCode if code is not StatusCode.OK} | {
    StatusCode.DEADLINE_EXCEEDED: "deadline",
    StatusCode.RESOURCE_EXHAUSTED: "overloaded",
    StatusCode.UNIMPLEMENTED: "not-installed",
}
"""The reason for each status that says nothing but its code."""


@asynccontextmanager
async def front_before(behaviour: Behaviour) -> AsyncIterator[Client]:
    """A client of the front whose ranker is a real server that behaves like this."""
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(behaviour)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("winnow.v1.RankingService", {"Rank": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    world = World()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            world.ranking = ServeRanking(channel, "a token")  # type: ignore[assignment]
            async with client_of(world) as client:
                yield client
    finally:
        await server.stop(None)


async def reason_of(client: Client) -> str:
    """Why a slate, which must be whole otherwise, was not ranked."""
    answer = await client.recommendations.Recommend(pb.RecommendRequest(user_id="ann"), timeout=10)
    assert len(answer.items) == 10
    (lost,) = answer.header.degraded
    assert lost.stage == "rank"
    return lost.reason


def failing(code: StatusCode) -> Behaviour:
    """A bare status, as a proxy gives it: no details, nothing of ours."""

    async def fail(_request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        await context.abort(code, "upstream connect error")
        raise AssertionError("abort raises")

    return fail


def answering(answer: bytes) -> Behaviour:
    """These bytes, whatever was asked."""

    async def give(_request: bytes, _context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        return answer

    return give


async def raising(_request: bytes, _context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    """A bug: gRPC makes UNKNOWN of it."""
    raise RuntimeError("a bug")


async def silent(_request: bytes, _context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
    """No answer at all."""
    await asyncio.Event().wait()
    return b""


@pytest.mark.parametrize("code", FAILURES)
async def test_a_status_without_any_details_becomes_a_reason_and_the_slate_comes(code: StatusCode) -> None:
    async with front_before(failing(code)) as client:
        reason = await reason_of(client)

    assert reason == FAILURES[code]


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (raising, "unavailable"),
        (answering(b"<html>bad gateway</html>"), "unavailable"),
        (answering(b""), "invalid-answer"),
        (silent, "deadline"),
    ],
    ids=["raises", "bytes of something else", "an empty answer", "nothing"],
)
async def test_an_answer_that_is_none_becomes_a_reason_and_the_slate_comes(behaviour: Behaviour, expected: str) -> None:
    async with front_before(behaviour) as client:
        reason = await reason_of(client)

    assert reason == expected


@pytest.mark.parametrize("code", [StatusCode.UNKNOWN, StatusCode.UNAVAILABLE, StatusCode.INTERNAL])
async def test_a_ranker_that_fails_without_details_opens_the_circuit(code: StatusCode) -> None:
    async with front_before(failing(code)) as client:
        reasons = [await reason_of(client) for _ in range(4)]

    assert reasons == ["unavailable"] * 3 + ["circuit-open"]
