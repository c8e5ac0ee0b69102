"""What stands between Ray Serve and the ranker's methods."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from winnow.v1.ranking_service_pb2 import RankRequest, RankResponse

from services.ranking.ingress import CHECK, RANK, Ingress, decode
from shared.kernel.context import request_id
from shared.kernel.errors import STATUS_DETAILS_KEY, ErrorReason, ServiceError
from tests.unit.ranking.fakes import FakeContext

INGRESS = Ingress(token="secret", request_limit_bytes=100)
AUTHORIZED = {"authorization": "Bearer secret"}


async def answer(raw: bytes) -> Message:
    return RankResponse(data_watermark=f"{len(raw)} bytes, {request_id()}")


def error_info(context: FakeContext) -> error_details_pb2.ErrorInfo:
    status = status_pb2.Status.FromString(context.trailing[STATUS_DETAILS_KEY])
    info = error_details_pb2.ErrorInfo()
    assert [detail.Unpack(info) for detail in status.details].count(True) == 1
    return info


async def test_the_method_gets_the_bytes_as_they_came_and_knows_its_request() -> None:
    context = FakeContext(AUTHORIZED | {"x-request-id": "r-1"})

    response = await INGRESS.answer(RANK, b"12345", context, answer)

    assert response == RankResponse(data_watermark="5 bytes, r-1")
    assert context.code is None
    assert context.trailing == {"x-request-id": "r-1"}


@pytest.mark.parametrize("metadata", [{}, {"authorization": "secret"}, {"authorization": "Bearer secret2"}])
async def test_a_wrong_token_is_told_before_anything_is_read(metadata: dict[str, str]) -> None:
    context = FakeContext(metadata)

    response = await INGRESS.answer(RANK, b"x" * 1000, context, answer)

    assert response == Empty()
    assert context.code is grpc.StatusCode.UNAUTHENTICATED
    assert error_info(context).reason == "UNAUTHENTICATED"
    assert "secret" not in context.details


async def test_health_is_open_to_probes() -> None:
    context = FakeContext()

    await INGRESS.answer(CHECK, b"", context, answer)

    assert context.code is None


async def test_an_oversized_request_never_reaches_the_method() -> None:
    context = FakeContext(AUTHORIZED)

    await INGRESS.answer(RANK, b"x" * 101, context, answer)

    assert context.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(error_info(context).metadata) == {"bytes": "101", "limitBytes": "100"}


async def test_a_service_error_becomes_its_status_with_retry_info() -> None:
    async def overloaded(_raw: bytes) -> Message:
        raise ServiceError(ErrorReason.OVERLOADED, "full", metadata={"limit": "4"})

    context = FakeContext(AUTHORIZED)
    await INGRESS.answer(RANK, b"", context, overloaded)

    status = status_pb2.Status.FromString(context.trailing[STATUS_DETAILS_KEY])
    assert (context.code, context.details) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
    assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)


async def test_a_fault_tells_the_request_id_and_nothing_of_itself() -> None:
    async def broken(_raw: bytes) -> Message:
        raise ZeroDivisionError("weights of /srv/models")

    context = FakeContext(AUTHORIZED | {"x-request-id": "r-2"})
    await INGRESS.answer(RANK, b"", context, broken)

    assert context.code is grpc.StatusCode.INTERNAL
    assert "weights" not in context.details
    assert dict(error_info(context).metadata) == {"requestId": "r-2"}


async def test_a_cancelled_call_stays_cancelled() -> None:
    async def endless(_raw: bytes) -> Message:
        await asyncio.Event().wait()
        return Empty()

    task = asyncio.create_task(INGRESS.answer(RANK, b"", FakeContext(AUTHORIZED), endless))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_request_is_decoded_and_checked_against_the_contract() -> None:
    request = RankRequest(budget_ms=5)
    request.candidates.item_ids.append("a")

    assert decode(RankRequest, request.SerializeToString()) == request
    with pytest.raises(ServiceError, match=r"winnow\.v1\.RankRequest"):
        decode(RankRequest, b"\xff")
    with pytest.raises(ServiceError, match="budget_ms"):
        decode(RankRequest, RankRequest(budget_ms=-1).SerializeToString())
