"""A service as a deployment runs it: production's demands, and health for Kubernetes' probes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from winnow.v1 import feedback_service_pb2_grpc

from shared.kernel.config import ConfigError, load
from shared.kernel.hosting import ListeningSettings, connect, serving
from shared.kernel.probe import asked_address, healthy
from shared.kernel.readiness import Readiness
from shared.kernel.telemetry import RPC_HANDLED
from tests.certificates import LOOPBACK, Authority, write_files
from tests.integration.kernel_servers import SERVICE, UNARY, Request, Response, hosted

ASKED = Request(recommendation_id="r-1")
POLICY = f"clients: {{self: {{identities: [self.example], methods: [{UNARY}]}}}}"


@pytest.fixture
def production(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of production, for a process that may call itself."""
    authority = Authority()
    files = write_files(tmp_path / "tls", authority.issue(LOOPBACK, "self.example"), authority)
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WINNOW_PROFILE", "production")
    monkeypatch.setenv("WINNOW_TLS_CERTIFICATE_FILE", str(files.certificate))
    monkeypatch.setenv("WINNOW_TLS_KEY_FILE", str(files.key))
    monkeypatch.setenv("WINNOW_TLS_AUTHORITY_FILE", str(files.authority))
    monkeypatch.setenv("WINNOW_POLICY_FILE", str(policy))
    monkeypatch.setenv("WINNOW_LIMIT_DRAIN_GRACE_MS", "0")


def settings(**values: str) -> ListeningSettings:
    """Where the service listens: anywhere."""
    return load(ListeningSettings, address="127.0.0.1:0", metrics_port=0, **values)


@pytest.mark.usefixtures("production")
async def test_services_of_production_call_each_other_by_certificate() -> None:
    async with serving(settings(), [hosted()]) as server, connect(server.address) as channel:
        stub = feedback_service_pb2_grpc.FeedbackServiceStub(channel)

        assert await stub.GetSlate(ASKED, timeout=20) == Response()

        async with grpc.aio.insecure_channel(server.address) as stranger:
            with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
                await feedback_service_pb2_grpc.FeedbackServiceStub(stranger).GetSlate(ASKED, timeout=20)


@pytest.mark.usefixtures("production")
async def test_a_service_that_cannot_work_yet_is_alive(unused_tcp_port: int) -> None:
    address = f"127.0.0.1:{unused_tcp_port}"
    async with (
        serving(settings(health_address=address), [hosted(Readiness())]),
        grpc.aio.insecure_channel(address) as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        whole = await health.Check(health_pb2.HealthCheckRequest())
        alive = await health.Check(health_pb2.HealthCheckRequest(service="live"))

    assert whole.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert alive.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.usefixtures("production")
async def test_a_container_engine_is_told_whether_the_service_can_work(unused_tcp_port: int) -> None:
    readiness = Readiness()
    environ = {"WINNOW_FEEDBACK_HEALTH_ADDRESS": f"0.0.0.0:{unused_tcp_port}"}
    address = asked_address("feedback", environ)
    async with serving(settings(health_address=address), [hosted(readiness)]):
        before = await asyncio.to_thread(healthy, address)
        readiness.set(True)
        await readiness.wait_ready()

        assert address == f"127.0.0.1:{unused_tcp_port}"
        assert (before, await asyncio.to_thread(healthy, address)) == (False, True)
    assert not await asyncio.to_thread(healthy, address), "nobody listens any more"


@pytest.mark.usefixtures("production")
async def test_the_plain_health_port_tells_health_and_nothing_else(unused_tcp_port: int) -> None:
    readiness = Readiness()
    address = f"127.0.0.1:{unused_tcp_port}"
    async with (
        serving(settings(health_address=address), [hosted(readiness)]),
        grpc.aio.insecure_channel(address) as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        readiness.set(True)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.SERVING

        with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
            await feedback_service_pb2_grpc.FeedbackServiceStub(channel).GetSlate(ASKED)
        with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
            await asyncio.to_thread(reflected, address)


def reflected(address: str) -> list[str]:
    """The services that reflection tells."""
    with grpc.insecure_channel(address) as channel:
        return list(ProtoReflectionDescriptorDatabase(channel).get_services())


@pytest.mark.usefixtures("production")
async def test_production_without_its_policy_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WINNOW_POLICY_FILE")

    with pytest.raises(ConfigError, match="WINNOW_POLICY_FILE is not set"):
        async with serving(settings(), [hosted()]):
            pytest.fail("serves without a policy")


async def test_limits_are_those_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WINNOW_LIMIT_REQUESTS_PER_SECOND", "0.01")
    monkeypatch.setenv("WINNOW_LIMIT_DRAIN_GRACE_MS", "0")
    refused = RPC_HANDLED.labels(UNARY, "RESOURCE_EXHAUSTED")
    before = refused._value.get()
    async with serving(settings(), [hosted()]) as server, connect(server.address) as channel:
        stub = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
        await stub.GetSlate(ASKED)
        with pytest.raises(grpc.aio.AioRpcError, match="RESOURCE_EXHAUSTED"):
            await stub.GetSlate(ASKED)

    assert refused._value.get() == before + 1
