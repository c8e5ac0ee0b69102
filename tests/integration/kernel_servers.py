"""Real servers for the kernel's tests: the log's service with scripted methods, on a free port of this machine."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeAlias

import grpc
from winnow.v1 import feedback_service_pb2, feedback_service_pb2_grpc

from shared.kernel.client import ChannelOptions, open_channel
from shared.kernel.logs import configure_logs
from shared.kernel.readiness import Readiness
from shared.kernel.server import GrpcServer, Hosted, ServerOptions

SERVICE = "winnow.v1.FeedbackService"
UNARY = f"{SERVICE}/GetSlate"

Request = feedback_service_pb2.GetSlateRequest
Response = feedback_service_pb2.GetSlateResponse
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


async def answer(request: Request, context: Context) -> Response:
    """The plainest method."""
    return Response()


def hosted(readiness: Readiness | None = None, **methods: Any) -> Hosted:
    """A service that answers with the functions given by method name; ready, unless a readiness is given."""
    scripted = {"GetSlate": staticmethod(answer)} | {name: staticmethod(each) for name, each in methods.items()}
    servicer = type("ScriptedServicer", (feedback_service_pb2_grpc.FeedbackServiceServicer,), scripted)()
    state = readiness or Readiness()
    if readiness is None:
        state.set(True)
    return Hosted(
        (SERVICE,),
        lambda server: feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server(servicer, server),
        state,
    )


@asynccontextmanager
async def serving(options: ServerOptions | None = None, **methods: Any) -> AsyncIterator[str]:
    """A running server with scripted methods; gives its address."""
    async with GrpcServer("127.0.0.1:0", [hosted(**methods)], options or ServerOptions(drain_grace_ms=0)) as server:
        yield server.address


@asynccontextmanager
async def calling(
    address: str, options: ChannelOptions | None = None
) -> AsyncIterator[feedback_service_pb2_grpc.FeedbackServiceAsyncStub]:
    """A stub on a channel of the kernel."""
    async with open_channel(address, options or ChannelOptions(timeout_ms=10_000)) as channel:
        yield feedback_service_pb2_grpc.FeedbackServiceStub(channel)


async def send_bytes(address: str, method: str, payload: bytes, timeout_s: float | None = None) -> bytes:
    """One call without the kernel's channel, the contract's classes or a deadline, as any client could make it."""
    async with grpc.aio.insecure_channel(address) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{method}")
        return await call(payload, timeout=timeout_s)


@contextmanager
def captured_logs(level: str = "info") -> Iterator[list[dict[str, Any]]]:
    """The log lines that were written inside, parsed when the block ends."""
    lines: list[dict[str, Any]] = []
    stream = io.StringIO()
    configure_logs(level, stream)
    try:
        yield lines
    finally:
        configure_logs()
        lines += [json.loads(line) for line in stream.getvalue().splitlines()]
