"""What a server knows of every request: its id, its deadline, its one line in the log, its metrics."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from prometheus_client import REGISTRY

from shared.kernel.admission import RequestLimits
from shared.kernel.context import annotate, remaining_ms, request_id
from shared.kernel.errors import ErrorReason, from_rpc_error
from shared.kernel.server import ServerOptions
from tests.integration.kernel_servers import (
    SERVICE,
    UNARY,
    Context,
    Request,
    Response,
    calling,
    captured_logs,
    send_bytes,
    serving,
)

ASKED = Request(recommendation_id="r-1")


def lines_of(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The canonical lines of GetSlate."""
    return [line for line in logs if line["event"] == "rpc" and line["method"] == UNARY]


async def test_the_canonical_line_has_each_field_once_and_what_the_service_added() -> None:
    async def annotated(request: Request, context: Context) -> Response:
        annotate(found=3)
        return Response()

    with captured_logs() as logs:
        async with serving(GetSlate=annotated) as address, calling(address) as stub:
            await stub.GetSlate(ASKED, metadata=(("x-request-id", "r-7"),))

    (line,) = lines_of(logs)
    assert line.pop("duration_ms") > 0
    assert line.pop("peer").startswith("ipv4:127.0.0.1:")
    assert line.pop("timestamp")
    assert line == {
        "event": "rpc",
        "level": "info",
        "method": UNARY,
        "code": "OK",
        "request_id": "r-7",
        "found": 3,
    }


async def test_a_refused_request_has_its_line_too_with_the_reason() -> None:
    with captured_logs() as logs:
        async with serving() as address, calling(address) as stub:
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.GetSlate(Request())

    (line,) = lines_of(logs)
    assert (line["code"], line["reason"], line["level"]) == ("INVALID_ARGUMENT", "INVALID_FIELD", "info")


async def test_a_request_id_goes_to_the_service_and_back_to_the_caller() -> None:
    seen = []

    async def answer(request: Request, context: Context) -> Response:
        seen.append(request_id())
        return Response()

    async with serving(GetSlate=answer) as address, calling(address) as stub:
        call = stub.GetSlate(ASKED, metadata=(("x-request-id", "r-7"),))
        await call
        trailer = dict(await call.trailing_metadata())

    assert seen == ["r-7"]
    assert trailer["x-request-id"] == "r-7"


@pytest.mark.parametrize("given", [None, "two words", "x" * 129])
async def test_a_request_without_a_usable_id_gets_one(given: str | None) -> None:
    metadata = None if given is None else (("x-request-id", given),)
    async with serving() as address, calling(address) as stub:
        call = stub.GetSlate(ASKED, metadata=metadata)
        await call
        trailer = dict(await call.trailing_metadata())

    assert len(str(trailer["x-request-id"])) == 32


async def test_a_service_sees_what_is_left_of_its_callers_deadline() -> None:
    seen = []

    async def answer(request: Request, context: Context) -> Response:
        seen.append(remaining_ms())
        return Response()

    async with serving(GetSlate=answer) as address, calling(address) as stub:
        await stub.GetSlate(ASKED, timeout=598)  # gRPC rounds so long a time up to whole seconds on the wire

    (left,) = seen
    assert left is not None
    assert 500_000 < left <= 600_000


async def test_a_request_without_a_deadline_gets_the_servers() -> None:
    cancelled = asyncio.Event()

    async def endless(request: Request, context: Context) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Response()

    options = ServerOptions(RequestLimits(default_deadline_ms=30), drain_grace_ms=0)
    async with serving(options, GetSlate=endless) as address:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await send_bytes(address, UNARY, ASKED.SerializeToString())

    read = from_rpc_error(raised.value)
    assert (read.reason, read.metadata) == (ErrorReason.DEADLINE_EXCEEDED, {"budgetMs": "30"})
    assert cancelled.is_set()


async def test_a_time_out_of_the_services_own_making_is_not_the_callers_deadline() -> None:
    async def impatient(request: Request, context: Context) -> Response:
        raise TimeoutError

    async with serving(GetSlate=impatient) as address, calling(address) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.GetSlate(ASKED)

    assert raised.value.code() is StatusCode.INTERNAL


@pytest.mark.parametrize(("timeout_s", "code"), [(None, "CANCELLED"), (0.05, "DEADLINE_EXCEEDED")])
async def test_a_request_whose_caller_went_away_is_stopped_and_logged_as_such(
    timeout_s: float | None, code: str
) -> None:
    working, ended = asyncio.Event(), asyncio.Event()

    async def endless(request: Request, context: Context) -> Response:
        working.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Response()

    with captured_logs() as logs:
        async with serving(GetSlate=endless) as address, calling(address) as stub:
            call = stub.GetSlate(ASKED, timeout=timeout_s or 600)
            waiting = asyncio.ensure_future(call)
            await working.wait()
            if timeout_s is None:
                call.cancel()
            with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
                await waiting
            await ended.wait()

    assert [line["code"] for line in lines_of(logs)] == [code]


async def test_an_answer_that_the_service_gave_by_itself_stays_as_it_is() -> None:
    async def aborting(request: Request, context: Context) -> Response:
        await context.abort(StatusCode.ABORTED, "as it says")
        return Response()

    with captured_logs() as logs:
        async with serving(GetSlate=aborting) as address, calling(address) as stub:
            with pytest.raises(grpc.aio.AioRpcError, match="as it says"):
                await stub.GetSlate(ASKED)

    assert [line["code"] for line in lines_of(logs)] == ["ABORTED"]


async def test_requests_are_counted_and_timed_by_method_and_code() -> None:
    labels = {"method": UNARY, "code": "INVALID_ARGUMENT"}
    before = REGISTRY.get_sample_value("winnow_rpc_handled_total", labels) or 0
    timed = REGISTRY.get_sample_value("winnow_rpc_seconds_count", labels) or 0
    started = REGISTRY.get_sample_value("winnow_rpc_started_total", {"method": UNARY}) or 0

    async with serving() as address, calling(address) as stub:
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.GetSlate(Request())

    assert REGISTRY.get_sample_value("winnow_rpc_handled_total", labels) == before + 1
    assert REGISTRY.get_sample_value("winnow_rpc_seconds_count", labels) == timed + 1
    assert REGISTRY.get_sample_value("winnow_rpc_started_total", {"method": UNARY}) == started + 1


async def test_a_method_that_does_not_exist_is_unimplemented_and_makes_no_metric() -> None:
    async with serving() as address:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await send_bytes(address, f"{SERVICE}/Invented", b"")

    labels = [sample.labels for metric in REGISTRY.collect() for sample in metric.samples]
    assert raised.value.code() is StatusCode.UNIMPLEMENTED
    assert "Invented" not in str(labels)
