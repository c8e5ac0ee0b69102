"""Attacks on a server with mutual TLS, and the renewal of certificates under traffic."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode
from winnow.v1 import feedback_service_pb2_grpc

from shared.kernel.client import ChannelOptions, open_channel
from shared.kernel.errors import from_rpc_error
from shared.kernel.gate import Gate
from shared.kernel.policy import Client, Policy
from shared.kernel.server import GrpcServer, ServerOptions
from shared.kernel.tls import Tls, TlsFiles
from tests.certificates import LOOPBACK, Authority, Issued, write_files
from tests.integration.kernel_servers import UNARY, Context, Request, Response, calling, captured_logs, hosted

AUTHORITY, FOREIGN = Authority(), Authority()
SPIFFE = "spiffe://cluster.local/ns/shop/sa/backend"
ASKED = Request(recommendation_id="r-1")
OPTIONS = ServerOptions(drain_grace_ms=0)
POLICY = Policy(
    {
        SPIFFE: Client("shop", frozenset([UNARY])),
        "backend.shop.svc": Client("shop", frozenset([UNARY])),
        "job.shop.svc": Client("job", frozenset(["winnow.v1.FeedbackService/RecordEvents"])),
    }
)


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """What the server reads."""
    return write_files(tmp_path / "server", AUTHORITY.issue(LOOPBACK), AUTHORITY)


@pytest.fixture
async def address(files: TlsFiles) -> AsyncIterator[str]:
    """A server that lets `shop` ask and nobody else."""
    async with GrpcServer("127.0.0.1:0", [hosted()], OPTIONS, Tls(files, look_seconds=0), Gate(POLICY)) as server:
        yield server.address


async def outcome(address: str, credentials: grpc.ChannelCredentials | None, method: str = UNARY) -> StatusCode:
    """The code that a caller without our kernel gets."""
    channel = grpc.aio.secure_channel(address, credentials) if credentials else grpc.aio.insecure_channel(address)
    async with channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(f"/{method}")
        try:
            await call(ASKED.SerializeToString(), timeout=20)
        except grpc.aio.AioRpcError as error:
            return error.code()
    return StatusCode.OK


@pytest.mark.parametrize(
    "issue", [lambda: AUTHORITY.issue("backend.shop.svc"), lambda: AUTHORITY.issue_spiffe(SPIFFE)], ids=["dns", "uri"]
)
async def test_a_certificate_of_the_policy_may_call_its_method(address: str, issue: Callable[[], Issued]) -> None:
    assert await outcome(address, AUTHORITY.credentials(issue())) is StatusCode.OK


@pytest.mark.parametrize(
    ("trusts", "shows"),
    [
        (AUTHORITY, FOREIGN.issue("backend.shop.svc")),
        (AUTHORITY, AUTHORITY.issue_expired("backend.shop.svc")),
        (FOREIGN, AUTHORITY.issue("backend.shop.svc")),
    ],
    ids=["foreign certificate", "expired certificate", "server of another authority"],
)
async def test_no_connection_comes_about_with(address: str, trusts: Authority, shows: Issued) -> None:
    assert await outcome(address, trusts.credentials(shows)) is StatusCode.UNAVAILABLE


async def test_no_connection_comes_about_without_a_certificate_or_without_tls(address: str) -> None:
    assert await outcome(address, grpc.ssl_channel_credentials(AUTHORITY.pem)) is StatusCode.UNAVAILABLE
    assert await outcome(address, None) is StatusCode.UNAVAILABLE


async def test_a_server_with_another_name_is_not_believed(tmp_path: Path) -> None:
    files = write_files(tmp_path / "other", AUTHORITY.issue("other.example"), AUTHORITY)
    async with GrpcServer("127.0.0.1:0", [hosted()], OPTIONS, Tls(files)) as server:
        code = await outcome(server.address, AUTHORITY.credentials(AUTHORITY.issue("backend.shop.svc")))

    assert code is StatusCode.UNAVAILABLE


async def test_a_right_certificate_may_not_call_a_method_that_is_not_its_own(address: str) -> None:
    job = AUTHORITY.credentials(AUTHORITY.issue("job.shop.svc"))
    stranger = AUTHORITY.credentials(AUTHORITY.issue("stranger.example"))

    assert await outcome(address, job) is StatusCode.PERMISSION_DENIED
    assert await outcome(address, stranger) is StatusCode.PERMISSION_DENIED
    reflection = "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    assert await outcome(address, job, reflection) is StatusCode.PERMISSION_DENIED


async def test_a_refusal_says_who_and_what_and_the_log_knows_it(address: str, tmp_path: Path) -> None:
    shown = write_files(tmp_path / "client", AUTHORITY.issue("job.shop.svc"), AUTHORITY)
    with captured_logs() as logs:
        async with calling(address, ChannelOptions(tls=Tls(shown), timeout_ms=20_000)) as stub:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await stub.GetSlate(ASKED)

    read = from_rpc_error(raised.value)
    assert (read.reason.name, read.metadata) == ("FORBIDDEN", {"method": UNARY, "caller": "job"})
    (line,) = [line for line in logs if line["event"] == "rpc"]
    assert (line["client"], line["code"], line["reason"]) == ("job", "PERMISSION_DENIED", "FORBIDDEN")


async def test_health_is_told_to_everybody_with_a_certificate(address: str) -> None:
    stranger = AUTHORITY.credentials(AUTHORITY.issue("stranger.example"))

    assert await outcome(address, stranger, "grpc.health.v1.Health/Check") is not StatusCode.PERMISSION_DENIED


async def test_a_server_takes_a_renewed_authority_without_a_restart(address: str, files: TlsFiles) -> None:
    renewed = Authority()
    old = AUTHORITY.credentials(AUTHORITY.issue("backend.shop.svc"))
    new = renewed.credentials(renewed.issue("backend.shop.svc"))
    before = [await outcome(address, old), await outcome(address, new)]

    write_files(files.key.parent, renewed.issue(LOOPBACK), renewed)

    assert before == [StatusCode.OK, StatusCode.UNAVAILABLE]
    assert [await outcome(address, old), await outcome(address, new)] == [StatusCode.UNAVAILABLE, StatusCode.OK]


@asynccontextmanager
async def renewable(tmp_path: Path, address: str) -> AsyncIterator[tuple[TlsFiles, grpc.aio.Channel]]:
    """A channel of ours and the files that it reads."""
    shown = write_files(tmp_path / "client", AUTHORITY.issue("backend.shop.svc"), AUTHORITY)
    async with open_channel(address, ChannelOptions(tls=Tls(shown, look_seconds=0), timeout_ms=20_000)) as channel:
        yield shown, channel


async def test_a_channel_shows_a_renewed_certificate_at_its_next_call(address: str, tmp_path: Path) -> None:
    async with renewable(tmp_path, address) as (shown, channel):
        stub = stub_of(channel)
        assert await stub.GetSlate(ASKED) == Response()

        write_files(shown.key.parent, AUTHORITY.issue("stranger.example"), AUTHORITY)
        with pytest.raises(grpc.aio.AioRpcError, match="PERMISSION_DENIED"):
            await stub.GetSlate(ASKED)
        write_files(shown.key.parent, AUTHORITY.issue("backend.shop.svc"), AUTHORITY)

        assert await stub.GetSlate(ASKED) == Response()


async def test_a_call_in_flight_ends_on_the_certificate_that_it_began_with(files: TlsFiles, tmp_path: Path) -> None:
    go_on, working = asyncio.Event(), asyncio.Event()

    async def slow(request: Request, context: Context) -> Response:
        if request.recommendation_id == "slow":
            working.set()
            await go_on.wait()
        return Response()

    async with (
        GrpcServer("127.0.0.1:0", [hosted(GetSlate=slow)], OPTIONS, Tls(files)) as server,
        renewable(tmp_path, server.address) as (shown, channel),
    ):
        stub = stub_of(channel)
        in_flight = asyncio.ensure_future(stub.GetSlate(Request(recommendation_id="slow")))
        await working.wait()
        write_files(shown.key.parent, AUTHORITY.issue("backend.shop.svc"), AUTHORITY)
        assert await stub.GetSlate(ASKED) == Response()
        go_on.set()

        assert await in_flight == Response()
        assert await stub.GetSlate(ASKED) == Response()


def stub_of(channel: grpc.aio.Channel) -> feedback_service_pb2_grpc.FeedbackServiceAsyncStub:
    """The service's stub, made once and used across renewals as services do."""
    return feedback_service_pb2_grpc.FeedbackServiceStub(channel)
