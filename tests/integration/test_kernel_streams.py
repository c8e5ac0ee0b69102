"""The same promises for handlers that stream, whichever way they are written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from winnow.v1 import event_pb2, feedback_service_pb2, feedback_service_pb2_grpc

from shared.kernel.admission import RequestLimits
from shared.kernel.client import open_channel
from shared.kernel.errors import ErrorReason, ServiceError, from_rpc_error
from shared.kernel.readiness import Readiness
from shared.kernel.server import GrpcServer, Hosted, ServerOptions
from tests.integration.kernel_servers import (
    SERVICE,
    Context,
    Request,
    Response,
    calling,
    captured_logs,
    hosted,
    serving,
)

Batch = feedback_service_pb2.StreamEventsRequest
Ack = feedback_service_pb2.StreamEventsResponse
Tail = feedback_service_pb2.TailEventsRequest
Records = feedback_service_pb2.TailEventsResponse

UPLOAD = "/kernel.test.Upload/Send"
FULL = ServiceError(ErrorReason.STORAGE_FULL, "the disk is full", metadata={"path": "/x"})


def batch(watermark: str) -> Batch:
    """A batch of one event."""
    return Batch(events=[event_pb2.Event(event_id=watermark)])


def codes(logs: list[dict[str, Any]], method: str) -> list[str]:
    """How the requests of a method ended, by their lines."""
    return [line["code"] for line in logs if line["event"] == "rpc" and line["method"] == f"{SERVICE}/{method}"]


async def yields(request: Tail, context: Context) -> AsyncIterator[Records]:
    """A stream of answers as an async generator: two, and then an error."""
    yield Records(watermark="1")
    yield Records(watermark="2")
    raise FULL


async def writes(request: Tail, context: Context) -> None:
    """The same by writing to the context."""
    await context.write(Records(watermark="1"))
    await context.write(Records(watermark="2"))
    raise FULL


@pytest.mark.parametrize("handler", [yields, writes])
async def test_a_stream_of_answers_that_fails_midway_ends_with_a_rich_error_and_one_line(handler: Any) -> None:
    with captured_logs() as logs:
        async with serving(TailEvents=handler) as address, calling(address) as stub:
            call = stub.TailEvents(Tail())
            received = [await call.read(), await call.read()]
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call.read()

    assert received == [Records(watermark="1"), Records(watermark="2")]
    assert from_rpc_error(raised.value).reason == FULL.reason
    assert codes(logs, "TailEvents") == ["RESOURCE_EXHAUSTED"]


async def test_requests_and_answers_stream_past_each_other() -> None:
    async def acknowledge(requests: AsyncIterator[Batch], context: Context) -> AsyncIterator[Ack]:
        async for each in requests:
            yield Ack(watermark=each.events[0].event_id)

    with captured_logs() as logs:
        async with serving(StreamEvents=acknowledge) as address, calling(address) as stub:
            call = stub.StreamEvents()
            for watermark in ("a", "b"):
                await call.write(batch(watermark))
                assert await call.read() == Ack(watermark=watermark)
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF

    assert codes(logs, "StreamEvents") == ["OK"]


async def reads(requests: AsyncIterator[Batch], context: Context) -> None:
    """Acknowledges by reading from and writing to the context."""
    while (each := await context.read()) is not grpc.aio.EOF:
        await context.write(Ack(watermark=each.events[0].event_id))


async def iterates(requests: AsyncIterator[Batch], context: Context) -> AsyncIterator[Ack]:
    """Acknowledges as a generator."""
    async for each in requests:
        yield Ack(watermark=each.events[0].event_id)


@pytest.mark.parametrize("handler", [reads, iterates])
async def test_every_message_of_a_stream_is_checked(handler: Any) -> None:
    async with serving(StreamEvents=handler) as address, calling(address) as stub:
        call = stub.StreamEvents()
        await call.write(batch("a"))
        assert await call.read() == Ack(watermark="a")
        await call.write(Batch())
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()

    read = from_rpc_error(raised.value)
    assert (read.reason, [each.field for each in read.violations]) == (ErrorReason.INVALID_FIELD, ["events"])


async def test_a_stream_of_requests_has_one_answer_one_limit_and_one_line() -> None:
    async def count(requests: AsyncIterator[bytes], context: Context) -> bytes:
        return str([len(each) async for each in requests]).encode()

    handler = grpc.method_handlers_generic_handler(
        "kernel.test.Upload", {"Send": grpc.stream_unary_rpc_method_handler(count)}
    )
    readiness = Readiness()
    upload = Hosted((), lambda server: server.add_generic_rpc_handlers((handler,)), readiness)
    options = ServerOptions(RequestLimits(max_request_bytes=10), drain_grace_ms=0)
    with captured_logs() as logs:
        async with GrpcServer("127.0.0.1:0", [upload], options) as server, open_channel(server.address) as channel:
            send: Any = channel.stream_unary(UPLOAD)
            assert await send(iter([b"x", b"yy"])) == b"[1, 2]"
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await send(iter([b"x", b"y" * 11]))

    assert from_rpc_error(raised.value).metadata == {"bytes": "11", "limitBytes": "10"}
    assert [line["code"] for line in logs if line.get("method") == UPLOAD[1:]] == ["OK", "RESOURCE_EXHAUSTED"]


async def test_a_stream_whose_caller_went_away_is_stopped_while_it_writes() -> None:
    ended = asyncio.Event()

    async def endless(request: Tail, context: Context) -> AsyncIterator[Records]:
        try:
            while True:
                yield Records(watermark="w" * 10_000)
        finally:
            ended.set()

    with captured_logs() as logs:
        async with serving(TailEvents=endless) as address, calling(address) as stub:
            call = stub.TailEvents(Tail())
            await call.read()
            call.cancel()
            await ended.wait()

    assert codes(logs, "TailEvents") == ["CANCELLED"]


async def test_a_server_that_stops_tells_its_streams_to_go_elsewhere_and_does_not_wait_for_them() -> None:
    async def endless(request: Tail, context: Context) -> AsyncIterator[Records]:
        yield Records()
        await asyncio.Event().wait()

    patient = ServerOptions(drain_grace_ms=3_600_000)
    with captured_logs() as logs:
        async with GrpcServer("127.0.0.1:0", [hosted(TailEvents=endless)], patient) as server:
            channel = grpc.aio.insecure_channel(server.address)
            stub = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
            call = stub.TailEvents(Tail())
            await call.read()
        with pytest.raises(grpc.aio.AioRpcError) as raised:  # inside: the server writes its line beside what it sends
            await call.read()
        await channel.close()

    read = from_rpc_error(raised.value)
    assert (read.reason, read.metadata) == (ErrorReason.NOT_READY, {"state": "draining"})
    assert codes(logs, "TailEvents") == ["UNAVAILABLE"]


async def test_a_server_that_stops_finishes_the_request_that_it_has() -> None:
    working, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: Request, context: Context) -> Response:
        working.set()
        await go_on.wait()
        return Response()

    readiness = Readiness()
    readiness.set(True)
    async with GrpcServer("127.0.0.1:0", [hosted(readiness, GetSlate=slow)], ServerOptions()) as server:
        channel = grpc.aio.insecure_channel(server.address)
        stub = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
        answer = asyncio.ensure_future(stub.GetSlate(Request(recommendation_id="r")))
        await working.wait()
        asyncio.get_running_loop().call_soon(go_on.set)

    assert await answer == Response()
    await channel.close()


async def test_a_handler_that_is_not_async_is_refused_by_name() -> None:
    def blocking(request: Request, context: Context) -> Response:
        return Response()

    async with serving(GetSlate=blocking) as address, calling(address) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match=f"{SERVICE}/GetSlate must be async"):
            await stub.GetSlate(Request(recommendation_id="r"))
