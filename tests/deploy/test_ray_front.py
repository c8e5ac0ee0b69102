"""The ranker of the production overlay: callers come through its front, by certificate, and to one method only."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from winnow.v1.ranking_service_pb2 import RankRequest
from winnow.v1.ranking_service_pb2_grpc import RankingServiceStub

from tests.certificates import LOOPBACK, Authority
from tests.deploy.ray_cluster import TOKEN, RayCluster
from tests.e2e.product import wait_until

RECOMMENDATION = "spiffe://winnow/recommendation"
START_SECONDS, CALL_SECONDS = 180, 10


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    """A cluster whose ranker has no bundle: it answers, that it has none."""
    made = RayCluster(tmp_path_factory.mktemp("ray"))
    with made.running():
        wait_until(
            lambda: made.alive() and health(made, "live") == HealthCheckResponse.SERVING, START_SECONDS, made.log
        )
        yield made


def health(cluster: RayCluster, service: str) -> int:
    """What the front's port for probes tells; -1: nothing."""
    with grpc.insecure_channel(f"{LOOPBACK}:{cluster.probes_port}") as channel:
        try:
            return HealthStub(channel).Check(HealthCheckRequest(service=service), timeout=CALL_SECONDS).status
        except grpc.RpcError:
            return -1


def ask(channel: grpc.Channel, token: str = TOKEN) -> None:
    """An empty request, which is never a good one."""
    metadata = (("authorization", f"Bearer {token}"),)
    RankingServiceStub(channel).Rank(RankRequest(), timeout=CALL_SECONDS, metadata=metadata)


def refusal(
    cluster: RayCluster, identity: str = RECOMMENDATION, authority: Authority | None = None, token: str = TOKEN
) -> grpc.RpcError:
    """How a call ends that somebody makes."""
    chain, key = pair(authority or cluster.authority, identity)
    credentials = grpc.ssl_channel_credentials(cluster.authority.pem, key, chain)
    address = f"{LOOPBACK}:{cluster.callers_port}"
    with grpc.secure_channel(address, credentials) as channel, pytest.raises(grpc.RpcError) as raised:
        ask(channel, token)
    return raised.value


def pair(authority: Authority, identity: str) -> tuple[bytes, bytes]:
    """Certificate and key."""
    issued = authority.issue_spiffe(identity)
    return issued.chain, issued.key


def test_recommendation_reaches_the_replica(cluster: RayCluster) -> None:
    error = refusal(cluster)

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "candidates" in error.details(), "the replica itself checked the request"


def test_the_replica_asks_for_its_token_behind_the_front_too(cluster: RayCluster) -> None:
    assert refusal(cluster, token="another").code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("identity", ["spiffe://winnow/feature", "spiffe://winnow/recommendation/x"])
def test_another_service_does_not_get_through_the_front(cluster: RayCluster, identity: str) -> None:
    assert refusal(cluster, identity).code() is grpc.StatusCode.UNAVAILABLE


def test_a_certificate_of_another_authority_does_not_get_through_the_front(cluster: RayCluster) -> None:
    assert refusal(cluster, authority=Authority()).code() is grpc.StatusCode.UNAVAILABLE


def test_without_a_certificate_nobody_gets_through_the_front(cluster: RayCluster) -> None:
    credentials = grpc.ssl_channel_credentials(cluster.authority.pem)
    address = f"{LOOPBACK}:{cluster.callers_port}"
    with (
        grpc.secure_channel(address, credentials) as channel,
        pytest.raises(grpc.RpcError, match="UNAVAILABLE"),
    ):
        ask(channel)


def test_the_front_knows_rank_and_nothing_else_of_serve(cluster: RayCluster) -> None:
    chain, key = pair(cluster.authority, RECOMMENDATION)
    credentials = grpc.ssl_channel_credentials(cluster.authority.pem, key, chain)
    with grpc.secure_channel(f"{LOOPBACK}:{cluster.callers_port}", credentials) as channel:
        for method in ("/ray.serve.RayServeAPIService/ListApplications", "/grpc.health.v1.Health/Check"):
            call = channel.unary_unary(method, lambda raw: raw, lambda raw: raw)
            with pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
                call(b"", timeout=CALL_SECONDS)


def test_a_replica_without_a_bundle_is_alive_and_not_ready(cluster: RayCluster) -> None:
    assert health(cluster, "live") == HealthCheckResponse.SERVING
    assert health(cluster, "") == HealthCheckResponse.NOT_SERVING


def test_the_port_for_probes_does_not_rank(cluster: RayCluster) -> None:
    address = f"{LOOPBACK}:{cluster.probes_port}"
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"):
        ask(channel)
