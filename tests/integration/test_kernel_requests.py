"""What a server refuses, and how it tells: rules, limits, and every kind of error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from winnow.v1 import feedback_service_pb2

from shared.kernel.admission import RequestLimits
from shared.kernel.errors import ErrorReason, Reason, ServiceError, from_rpc_error
from shared.kernel.server import ServerOptions
from tests.integration.kernel_servers import (
    UNARY,
    Context,
    Request,
    Response,
    calling,
    captured_logs,
    send_bytes,
    serving,
)

Tail = feedback_service_pb2.TailEventsRequest
Records = feedback_service_pb2.TailEventsResponse

ASKED = Request(recommendation_id="r-1")


def status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """The rich status of an answer."""
    (packed,) = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
    assert isinstance(packed, bytes)
    return status_pb2.Status.FromString(packed)


def lines_of(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The canonical lines of GetSlate."""
    return [line for line in logs if line["event"] == "rpc" and line["method"] == UNARY]


async def test_an_error_of_a_service_arrives_with_exactly_one_error_info() -> None:
    async def full(request: Request, context: Context) -> Response:
        raise ServiceError(ErrorReason.STORAGE_FULL, "the disk is full", metadata={"path": "/x"})

    async with serving(GetSlate=full) as address, calling(address) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.GetSlate(ASKED)

    status = status_of(raised.value)
    infos = [detail for detail in status.details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert (raised.value.code(), raised.value.details()) == (StatusCode.RESOURCE_EXHAUSTED, "the disk is full")
    assert len(infos) == 1
    read = from_rpc_error(raised.value)
    assert (read.reason.name, read.metadata, read.retry_after_ms) == ("STORAGE_FULL", {"path": "/x"}, 30_000)


async def test_all_violations_of_a_request_are_told_at_once_and_the_service_never_sees_it() -> None:
    seen = []

    async def answer(request: Tail, context: Context) -> AsyncIterator[Records]:
        seen.append(request)
        yield Records()

    async with serving(TailEvents=answer) as address, calling(address) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.TailEvents(Tail(after_watermark="w" * 513, batch_size=-1)).read()

    read = from_rpc_error(raised.value)
    assert read.code is StatusCode.INVALID_ARGUMENT
    assert [each.field for each in read.violations] == ["after_watermark", "batch_size"]
    assert seen == []


async def test_any_other_exception_is_internal_and_only_the_log_knows_its_text() -> None:
    async def broken(request: Request, context: Context) -> Response:
        raise LookupError("secret of the house")

    with captured_logs() as logs:
        async with serving(GetSlate=broken) as address, calling(address) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.GetSlate(ASKED, metadata=(("x-request-id", "r-7"),))

    (line,) = lines_of(logs)
    assert (raised.value.code(), from_rpc_error(raised.value).metadata) == (StatusCode.INTERNAL, {"requestId": "r-7"})
    assert "secret" not in str(raised.value.details()) + str(raised.value.trailing_metadata())
    assert (line["level"], line["reason"]) == ("error", "INTERNAL")
    assert "LookupError: secret of the house" in line["exception"]


async def test_an_answer_that_cannot_be_encoded_is_internal_and_accounted_for() -> None:
    async def wrong(request: Request, context: Context) -> Any:
        return "no message"

    with captured_logs() as logs:
        async with serving(GetSlate=wrong) as address, calling(address) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.GetSlate(ASKED)

    assert raised.value.code() is StatusCode.INTERNAL
    assert [line["code"] for line in lines_of(logs)] == ["INTERNAL"]


async def test_bytes_that_are_no_request_are_the_callers_fault() -> None:
    async with serving() as address:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await send_bytes(address, UNARY, b"\xff\xff\xff")

    assert (raised.value.code(), raised.value.details()) == (
        StatusCode.INVALID_ARGUMENT,
        f"the bytes are no request of {UNARY}",
    )


async def test_a_request_above_the_size_limit_is_told_its_size_and_the_limit() -> None:
    options = ServerOptions(RequestLimits(max_request_bytes=1_000), drain_grace_ms=0)
    async with serving(options) as address, calling(address) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.GetSlate(Request(recommendation_id="r" * 2_000))

    read = from_rpc_error(raised.value)
    assert read.reason == Reason("MESSAGE_TOO_LARGE", StatusCode.RESOURCE_EXHAUSTED)
    assert read.metadata == {"bytes": "2003", "limitBytes": "1000"}


async def test_far_larger_messages_are_cut_off_by_the_transport() -> None:
    options = ServerOptions(RequestLimits(max_request_bytes=1_000), drain_grace_ms=0)
    async with serving(options) as address, calling(address) as stub:
        with pytest.raises(grpc.aio.AioRpcError, match="larger than max") as raised:
            await stub.GetSlate(Request(recommendation_id="r" * 5_000))

    assert raised.value.code() is StatusCode.RESOURCE_EXHAUSTED


async def test_more_requests_than_a_server_can_work_on_are_turned_away_at_once() -> None:
    working, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: Request, context: Context) -> Response:
        working.set()
        await go_on.wait()
        return Response()

    options = ServerOptions(RequestLimits(max_in_flight=1), drain_grace_ms=0)
    async with serving(options, GetSlate=slow) as address, calling(address) as stub:
        first = asyncio.ensure_future(stub.GetSlate(ASKED))
        await working.wait()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.GetSlate(ASKED)
        go_on.set()

        assert await first == Response()
        assert await stub.GetSlate(ASKED) == Response()
    read = from_rpc_error(raised.value)
    assert (read.reason.name, read.metadata, read.retry_after_ms) == ("OVERLOADED", {"limit": "1"}, 200)
