"""More than one replica, and a Ray cluster that was there before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from services.ranking.orphans import kill_marked
from tests.integration.ranking.ranker import SERVING, Ranker, rank_request, wait_until
from tests.integration.ranking.toy import ITEM_IDS

pytestmark = pytest.mark.usefixtures("alone")

CLUSTER_MARK = "WINNOW_TEST_CLUSTER"
CLUSTER = """
import sys, ray
context = ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[1])
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


def serving(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            return bool(HealthStub(channel).Check(HealthCheckRequest(), timeout=5).status == SERVING)
        except grpc.RpcError:
            return False


def test_replicas_listen_side_by_side_and_one_carries_on_without_the_other(tmp_path: Path) -> None:
    ranker = Ranker(tmp_path, environ={"WINNOW_RANKING_REPLICAS": "2", "WINNOW_RANKING_REPLICA_CPUS": "0.5"})
    ports = (ranker.port, ranker.port + 1)
    ranker.publish(0.5)
    try:
        ranker.start()
        wait_until(lambda: all(map(serving, ports)), "two replicas")
        os.kill(ranker.process_ids("ServeReplica")[0], signal.SIGKILL)
        wait_until(lambda: not all(map(serving, ports)), "the loss of one")

        assert any(map(serving, ports))
        wait_until(lambda: all(map(serving, ports)), "two replicas again")
    finally:
        ranker.close()


def test_it_runs_on_a_cluster_that_was_there_before_and_stays_when_who_deployed_it_stops(tmp_path: Path) -> None:
    with cluster(tmp_path / "c") as (address, variables):
        ranker = Ranker(tmp_path / "data", environ=variables | {"WINNOW_RANKING_RAY_ADDRESS": address})
        ranker.publish(0.5)
        try:
            ranker.start()
            ranker.wait_for(SERVING)
            code = ranker.signal(signal.SIGTERM)

            assert code == 0
            assert ranker.processes() == []
            assert len(ranker.rank(rank_request(ITEM_IDS[0])).probabilities) == 1
        finally:
            ranker.close()


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A Ray of somebody else; gives its address and the variables with which one may join it."""
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "t" * 64}
    own = {CLUSTER_MARK: str(folder), "SPT_NOENV": "1", "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    short = Path("/tmp") / f"winnow-test-{os.getpid()}"  # noqa: S108 - the paths of Ray's sockets must be short
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER, str(short)],
        env=os.environ | own,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), variables
    finally:
        kill_marked(f"{CLUSTER_MARK}={folder}")
        process.wait()
        subprocess.run(["rm", "-rf", str(short)], check=True)
