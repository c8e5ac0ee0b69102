"""Channels between services: deadlines, request ids, repeats and reconnection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc import StatusCode
from winnow.v1 import feedback_service_pb2, feedback_service_pb2_grpc
from winnow.v1.feedback_service_pb2_grpc import FeedbackServiceStub

from shared.kernel.client import ChannelOptions
from shared.kernel.errors import ErrorReason, ServiceError, from_rpc_error
from shared.kernel.server import GrpcServer, ServerOptions
from tests.integration.kernel_servers import UNARY, Context, Request, Response, calling, hosted, serving
from tests.name_server import Names

ASKED = Request(recommendation_id="r-1")
LONG_MS = 3_600_000


class Recorder:
    """A method that notes what arrives, and fails as often as it is told to."""

    def __init__(self, failures: int = 0, error: ServiceError | None = None) -> None:
        self.calls = 0
        self.remaining_s: list[float | None] = []
        self.request_ids: list[object] = []
        self._failures = failures
        self._error = error or ServiceError(ErrorReason.NOT_READY, "starting")

    async def answer(self, request: Request, context: Context) -> Response:
        """Answers GetSlate."""
        self.calls += 1
        self.remaining_s.append(context.time_remaining())
        self.request_ids.append(dict(context.invocation_metadata() or ()).get("x-request-id"))
        if self.calls <= self._failures:
            raise self._error
        return Response()


async def test_a_call_takes_no_longer_than_the_channel_allows() -> None:
    recorder = Recorder()
    async with (
        serving(GetSlate=recorder.answer) as address,
        calling(address, ChannelOptions(timeout_ms=89_000)) as stub,  # gRPC rounds up to tenths of a second
    ):
        await stub.GetSlate(ASKED)

    (left_s,) = recorder.remaining_s
    assert left_s is not None
    assert 60 < left_s <= 90


async def test_a_call_inside_a_request_gets_what_is_left_of_its_deadline_less_a_margin() -> None:
    inner, outer_left_s = Recorder(), []
    async with (
        serving(GetSlate=inner.answer) as inner_address,
        calling(inner_address, ChannelOptions(timeout_ms=LONG_MS, deadline_margin_ms=60_000)) as inner_stub,
    ):

        async def forward(request: Request, context: Context) -> Response:
            outer_left_s.append(context.time_remaining())
            return await inner_stub.GetSlate(request)

        async with serving(GetSlate=forward) as address, calling(address) as stub:
            await stub.GetSlate(ASKED, timeout=600)

    assert outer_left_s[0] is not None
    assert inner.remaining_s[0] is not None
    assert 300 < inner.remaining_s[0] < outer_left_s[0] - 50  # gRPC rounds long timeouts on the wire


async def test_a_request_whose_time_is_up_calls_nobody() -> None:
    inner = Recorder()
    async with (
        serving(GetSlate=inner.answer) as inner_address,
        calling(inner_address, ChannelOptions(deadline_margin_ms=LONG_MS)) as inner_stub,
    ):

        async def forward(request: Request, context: Context) -> Response:
            try:
                return await inner_stub.GetSlate(request)
            except grpc.aio.AioRpcError as error:
                raise from_rpc_error(error) from error

        async with serving(GetSlate=forward) as address, calling(address) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.GetSlate(ASKED, timeout=600)

    assert (raised.value.code(), raised.value.details()) == (
        StatusCode.DEADLINE_EXCEEDED,
        f"no time left to call {UNARY}",
    )
    assert inner.calls == 0


async def test_a_request_id_is_passed_on_to_the_services_behind() -> None:
    inner = Recorder()
    async with serving(GetSlate=inner.answer) as inner_address, calling(inner_address) as inner_stub:

        async def forward(request: Request, context: Context) -> Response:
            return await inner_stub.GetSlate(request)

        async with serving(GetSlate=forward) as address, calling(address) as stub:
            await stub.GetSlate(ASKED, metadata=(("x-request-id", "r-7"),))

    assert inner.request_ids == ["r-7"]


async def test_a_stream_has_no_time_limit_of_its_own() -> None:
    seen = []

    async def tail(
        request: feedback_service_pb2.TailEventsRequest, context: Context
    ) -> AsyncIterator[feedback_service_pb2.TailEventsResponse]:
        seen.append(context.time_remaining())
        yield feedback_service_pb2.TailEventsResponse()

    async with serving(TailEvents=tail) as address, calling(address) as stub:
        await stub.TailEvents(feedback_service_pb2.TailEventsRequest()).read()

    assert seen == [None]


async def test_an_idempotent_call_is_repeated_while_the_service_is_unavailable() -> None:
    recorder = Recorder(failures=2)
    options = ChannelOptions(timeout_ms=LONG_MS, idempotent_methods=(UNARY,), initial_backoff_ms=5)
    async with serving(GetSlate=recorder.answer) as address, calling(address, options) as stub:
        assert await stub.GetSlate(ASKED) == Response()

    assert recorder.calls == 3


async def test_a_call_that_a_stopping_server_has_not_begun_is_repeated() -> None:
    calls = []

    class Stopping(feedback_service_pb2_grpc.FeedbackServiceServicer):
        """Ends the first call as gRPC's own server does when it stops."""

        async def GetSlate(self, request: Request, context: Context) -> Response:
            calls.append(request)
            if len(calls) == 1:
                await context.abort(StatusCode.CANCELLED)
            return Response()

    server = grpc.aio.server()
    feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server(Stopping(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    options = ChannelOptions(timeout_ms=LONG_MS, idempotent_methods=(UNARY,), initial_backoff_ms=5)
    async with calling(address, options) as stub:
        assert await stub.GetSlate(ASKED) == Response()
    await server.stop(None)

    assert len(calls) == 2


async def test_an_idempotent_call_is_given_up_after_its_attempts_and_the_reason_is_told() -> None:
    recorder = Recorder(failures=9)
    options = ChannelOptions(timeout_ms=LONG_MS, idempotent_methods=(UNARY,), initial_backoff_ms=5, max_attempts=2)
    async with serving(GetSlate=recorder.answer) as address, calling(address, options) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.GetSlate(ASKED)

    assert from_rpc_error(raised.value).reason == ErrorReason.NOT_READY
    assert recorder.calls == 2


async def test_a_call_that_was_not_named_idempotent_is_made_once() -> None:
    recorder = Recorder(failures=1)
    options = ChannelOptions(timeout_ms=LONG_MS, idempotent_methods=("winnow.v1.FeedbackService/RecordSlates",))
    async with serving(GetSlate=recorder.answer) as address, calling(address, options) as stub:
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.GetSlate(ASKED)

    assert recorder.calls == 1


async def test_other_errors_are_never_repeated() -> None:
    recorder = Recorder(failures=1, error=ServiceError(ErrorReason.STORAGE_FULL, "the disk is full"))
    options = ChannelOptions(timeout_ms=LONG_MS, idempotent_methods=(UNARY,), initial_backoff_ms=5)
    async with serving(GetSlate=recorder.answer) as address, calling(address, options) as stub:
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.GetSlate(ASKED)

    assert recorder.calls == 1


async def test_a_service_that_comes_back_is_reached_on_the_same_channel() -> None:
    at_once = ServerOptions(drain_grace_ms=0)
    async with GrpcServer("127.0.0.1:0", [hosted()], at_once) as server:
        address = server.address
    async with calling(address, ChannelOptions(timeout_ms=LONG_MS)) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.GetSlate(ASKED)
        assert raised.value.code() is StatusCode.UNAVAILABLE

        async with GrpcServer(address, [hosted()], at_once):
            assert await stub.GetSlate(ASKED, wait_for_ready=True) == Response()


async def test_many_calls_share_one_channel() -> None:
    peers = set()

    async def answer(request: Request, context: Context) -> Response:
        peers.add(context.peer())
        return Response()

    async with serving(GetSlate=answer) as address, calling(address) as stub:
        await asyncio.gather(*(stub.GetSlate(ASKED) for _ in range(50)))

    assert len(peers) == 1


def test_a_wait_so_short_that_grpc_would_never_repeat_is_refused() -> None:
    with pytest.raises(ValueError, match="initial_backoff_ms is 1; the least is 5"):
        ChannelOptions(initial_backoff_ms=1)


async def test_a_service_whose_pods_have_all_moved_is_found_within_seconds(unused_tcp_port: int) -> None:
    names = Names(addresses={"service": ["127.0.0.2"]})
    with names.serving():
        async with calling(names.target("service", unused_tcp_port)) as stub:
            async with GrpcServer(f"127.0.0.2:{unused_tcp_port}", [hosted()]):
                assert await stub.GetSlate(ASKED) == Response()
            names.addresses["service"] = ["127.0.0.3"]
            async with GrpcServer(f"127.0.0.3:{unused_tcp_port}", [hosted()]):
                async with asyncio.timeout(15):  # gRPC's own would be half a minute
                    while not await answered(stub):
                        await asyncio.sleep(0.1)


async def answered(stub: FeedbackServiceStub) -> bool:
    """Whether a call gets through."""
    try:
        return await stub.GetSlate(ASKED) == Response()  # type: ignore[no-any-return]
    except grpc.aio.AioRpcError as error:
        assert error.code() is StatusCode.UNAVAILABLE, error  # noqa: PT017 - what else it is, is the test's failure
        return False
