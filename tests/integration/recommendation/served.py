"""A real gRPC server of the front over fakes, and a client's view of its errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from winnow.v1.monitoring_service_pb2_grpc import MonitoringServiceStub
from winnow.v1.recommendation_service_pb2_grpc import RecommendationServiceStub

from shared.kernel.server import GrpcServer
from tests.unit.recommendation.front import World, opened

DETAILS = "grpc-status-details-bin"


@dataclass(frozen=True)
class Client:
    """What a caller has."""

    channel: grpc.aio.Channel
    recommendations: RecommendationServiceStub
    monitoring: MonitoringServiceStub


@asynccontextmanager
async def client_of(world: World, **settings: object) -> AsyncIterator[Client]:
    """A client of a server on a free port."""
    async with (
        opened(world, **settings) as app,
        GrpcServer("127.0.0.1:0", [app.hosted]) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        yield Client(channel, RecommendationServiceStub(channel), MonitoringServiceStub(channel))


@dataclass(frozen=True)
class Refusal:
    """One error as a client reads it."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: dict[str, str]
    fields: list[str]


async def refusal_of(call: grpc.aio.UnaryUnaryCall) -> Refusal:
    """The error that a call ends with: exactly one ErrorInfo of our domain."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    error = raised.value
    raw = dict(error.trailing_metadata() or ())[DETAILS]
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    details = status_pb2.Status.FromString(raw).details
    assert sum(detail.Is(info.DESCRIPTOR) for detail in details) == 1
    for detail in details:
        detail.Unpack(info)
        detail.Unpack(bad)
    assert info.domain == "winnow.v1"
    fields = [violation.field for violation in bad.field_violations]
    return Refusal(error.code(), error.details() or "", info.reason, dict(info.metadata), fields)
