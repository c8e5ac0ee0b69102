"""A server from start to stop: addresses, health, reflection, readiness."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from winnow.v1 import catalog_service_pb2

from shared.kernel.client import open_channel
from shared.kernel.config import ConfigError
from shared.kernel.readiness import Readiness
from shared.kernel.server import GrpcServer, Hosted, ServerOptions
from tests.integration.kernel_servers import SERVICE, Request, Response, calling, captured_logs, hosted, serving

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health_of(channel: grpc.aio.Channel, service: str) -> int:
    """What health says of a service."""
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return int(answer.status)


async def test_health_says_what_readiness_says_for_each_service_and_for_the_whole() -> None:
    readiness = Readiness()
    names = tuple(service.full_name for service in catalog_service_pb2.DESCRIPTOR.services_by_name.values())
    idle = Hosted(names, lambda server: None, Readiness())
    idle.readiness.set(True)

    async with GrpcServer("127.0.0.1:0", [hosted(readiness), idle]) as server, open_channel(server.address) as channel:
        assert [await health_of(channel, name) for name in (SERVICE, *names, "")] == [
            NOT_SERVING,
            SERVING,
            NOT_SERVING,
        ]

        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == NOT_SERVING
        readiness.set(True)
        assert (await watch.read()).status == SERVING
        assert await health_of(channel, "") == SERVING

        readiness.set(False, "lost its disk")
        assert (await watch.read()).status == NOT_SERVING


async def test_health_does_not_know_what_is_not_hosted() -> None:
    async with serving() as address, open_channel(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await health_of(channel, "winnow.v1.RankingService")

    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_server_that_stops_says_not_serving_while_it_still_answers() -> None:
    options = ServerOptions(lame_duck_ms=500)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(GrpcServer("127.0.0.1:0", [hosted()], options))
        async with calling(server.address) as stub, grpc.aio.insecure_channel(server.address) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
            assert (await watch.read()).status == SERVING

            stopping = asyncio.create_task(stack.aclose())
            assert (await watch.read()).status == NOT_SERVING
            assert await stub.GetSlate(Request(recommendation_id="r")) == Response()
            await stopping


async def test_health_checks_are_not_in_the_log_unless_one_debugs() -> None:
    for level, expected in (("info", 0), ("debug", 1)):
        with captured_logs(level) as logs:
            async with serving() as address, open_channel(address) as channel:
                await health_of(channel, "")

        assert len([line for line in logs if line["event"] == "rpc"]) == expected


def reflected(address: str) -> list[str]:
    """The services that reflection tells."""
    with grpc.insecure_channel(address) as channel:
        return list(ProtoReflectionDescriptorDatabase(channel).get_services())


async def test_reflection_tells_the_services() -> None:
    async with serving() as address:
        services = await asyncio.to_thread(reflected, address)

    assert set(services) == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


async def test_reflection_can_be_switched_off() -> None:
    async with serving(ServerOptions(reflection=False, drain_grace_ms=0)) as address:
        with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
            await asyncio.to_thread(reflected, address)


async def test_a_taken_port_is_one_error_that_names_the_address_and_the_remedy() -> None:
    async with serving() as address:
        with pytest.raises(ConfigError) as raised:
            async with GrpcServer(address, [hosted()]):
                pytest.fail("two servers on one port")

    (problem,) = raised.value.problems
    assert problem.startswith(f"cannot listen on {address}: ")
    assert "set another address" in problem


async def test_a_port_that_there_is_not_is_refused_and_not_made_another() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1:99999: ports end at 65535"):
        async with GrpcServer("127.0.0.1:99999", [hosted()]):
            pytest.fail("listens on another port than it was told")


async def test_an_address_of_another_machine_is_refused_too() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:50051"):
        async with GrpcServer("192.0.2.1:50051", [hosted()]):
            pytest.fail("listens on an address that is not here")


async def test_a_port_that_was_given_back_can_be_taken_again_at_once() -> None:
    async with serving() as address:
        pass

    async with GrpcServer(address, [hosted()]) as server:
        assert server.address == address


async def test_a_server_listens_where_it_says() -> None:
    async with serving() as address:
        host, _, port = address.rpartition(":")

        with socket.create_connection((host, int(port))) as connection:
            assert connection.getpeername() == (host, int(port))
