"""What one caller cannot do to the others: too often, too many streams, too large, too slow."""

from __future__ import annotations

import asyncio
import resource
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc import StatusCode
from winnow.v1 import feedback_service_pb2, feedback_service_pb2_grpc

from shared.kernel import server as server_module
from shared.kernel.admission import RequestLimits
from shared.kernel.errors import from_rpc_error
from shared.kernel.gate import Gate
from shared.kernel.policy import Rate
from shared.kernel.server import GrpcServer, ServerOptions
from shared.kernel.tls import Tls
from tests.certificates import LOOPBACK, Authority, write_files
from tests.integration.kernel_servers import UNARY, Context, Request, Response, calling, hosted, send_bytes, serving

ASKED = Request(recommendation_id="r-1")
Tail = feedback_service_pb2.TailEventsRequest
Records = feedback_service_pb2.TailEventsResponse


async def test_a_caller_over_its_rate_gets_resource_exhausted_with_retry_info() -> None:
    async with (
        GrpcServer("127.0.0.1:0", [hosted()], gate=Gate(rate=Rate(0.01, 2))) as server,
        calling(server.address) as stub,
    ):
        await stub.GetSlate(ASKED)
        await stub.GetSlate(ASKED)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.GetSlate(ASKED)

    read = from_rpc_error(raised.value)
    assert (raised.value.code(), read.reason.name) == (StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert read.retry_after_ms
    assert 90_000 < read.retry_after_ms <= 100_000
    assert error_details_pb2.RetryInfo.DESCRIPTOR.full_name in str(raised.value.trailing_metadata())


async def test_a_caller_cannot_take_all_streams() -> None:
    async def answer(request: Tail, context: Context) -> AsyncIterator[Records]:
        yield Records(watermark="open")
        await asyncio.Event().wait()

    options = ServerOptions(RequestLimits(max_streams_per_client=2), drain_grace_ms=0)
    async with serving(options, TailEvents=answer) as address, calling(address) as stub:
        open_now = [stub.TailEvents(Tail()) for _ in range(2)]
        for each in open_now:
            await each.read()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.TailEvents(Tail()).read()
        assert await stub.GetSlate(ASKED) == Response()
        assert from_rpc_error(raised.value).metadata == {"limit": "2"}

        open_now[0].cancel()

        assert await first_taken(stub) == Records(watermark="open")


async def first_taken(stub: feedback_service_pb2_grpc.FeedbackServiceAsyncStub) -> Records:
    """The first record of a stream that is not refused: the server notices a cancelled one soon, not at once."""
    while True:
        try:
            return cast("Records", await stub.TailEvents(Tail()).read())
        except grpc.aio.AioRpcError as error:
            if error.code() is not StatusCode.RESOURCE_EXHAUSTED:
                raise


SENDER = """
import sys, grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    try:
        channel.unary_unary("/" + sys.argv[2])(bytes(int(sys.argv[3])), compression=grpc.Compression.Gzip, timeout=60)
        print("OK")
    except grpc.RpcError as error:
        print(error.code().name)
"""
MEGABYTE = 1024 * 1024


async def test_a_small_message_that_unpacks_to_a_giant_is_refused_before_it_fills_the_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with serving() as address:
        giant = str(128 * MEGABYTE)  # 128 KB on the wire; packed by another process, so that this one's memory tells
        sender = await asyncio.create_subprocess_exec(sys.executable, "-c", SENDER, address, UNARY, giant, stdout=PIPE)
        told, _ = await sender.communicate()

        assert told.decode().strip() == "RESOURCE_EXHAUSTED"
        assert await send_bytes(address, UNARY, ASKED.SerializeToString()) == b""
    grown_bytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown_bytes < 64 * MEGABYTE


async def test_who_connects_and_says_nothing_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HANDSHAKE_TIMEOUT_MS", 200)
    authority = Authority()
    files = write_files(tmp_path / "tls", authority.issue(LOOPBACK), authority)
    async with GrpcServer("127.0.0.1:0", [hosted()], ServerOptions(drain_grace_ms=0), Tls(files)) as server:
        host, _, port = server.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))

        assert await reader.read() == b""

        writer.close()


async def test_requests_that_never_come_hold_nobody_up() -> None:
    options = ServerOptions(RequestLimits(max_in_flight=5), drain_grace_ms=0)
    async with serving(options) as address, grpc.aio.insecure_channel(address) as channel:
        begin: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(f"/{UNARY}")
        half_open = [begin() for _ in range(50)]
        for each in half_open:
            await each.wait_for_connection()

        assert await send_bytes(address, UNARY, ASKED.SerializeToString()) == b""

        for each in half_open:
            each.cancel()


async def test_a_stream_of_requests_that_is_silent_is_let_go_and_its_place_is_free() -> None:
    async def acknowledge(
        requests: AsyncIterator[feedback_service_pb2.StreamEventsRequest], context: Context
    ) -> AsyncIterator[feedback_service_pb2.StreamEventsResponse]:
        async for each in requests:
            yield feedback_service_pb2.StreamEventsResponse(watermark=each.events[0].event_id)

    async def tail(request: Tail, context: Context) -> AsyncIterator[Records]:
        yield Records(watermark="w-1")

    options = ServerOptions(RequestLimits(max_streams_per_client=1, stream_idle_ms=100), drain_grace_ms=0)
    async with (
        serving(options, StreamEvents=acknowledge, TailEvents=tail) as address,
        calling(address) as stub,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.StreamEvents().read()
        others = [each.watermark async for each in stub.TailEvents(Tail())]

    assert from_rpc_error(raised.value).metadata == {"idleMs": "100"}
    assert raised.value.code() is StatusCode.DEADLINE_EXCEEDED
    assert others == ["w-1"]


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
BEGUN_HEADERS = bytes([0, 0, 32, 1, 4, 0, 0, 0, 1])
"""Of HTTP/2: a frame of settings without any, and the beginning of a call whose headers, 32 bytes, never come."""


async def test_a_connection_that_trickles_byte_by_byte_holds_nobody_up() -> None:
    async with serving() as address:
        host, _, port = address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        for byte in PREFACE + NO_SETTINGS + BEGUN_HEADERS:
            writer.write(bytes([byte]))
            await writer.drain()

            assert await send_bytes(address, UNARY, ASKED.SerializeToString()) == b""

        writer.close()
