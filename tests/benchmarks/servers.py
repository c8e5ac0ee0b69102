"""The servers that comparisons ask over gRPC or HTTP, each running while its context lasts."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from services.ranking.run_folder import RunFolder
from shared.model.bundle import Bundle
from tests.benchmarks.rivals import running
from tests.ports import free_port

ANSWER_SECONDS = 5
RAY = {
    "RAY_worker_niceness": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "benchmark",
    "OMP_NUM_THREADS": "1",
}
"""As Winnow's own Ray has it, but for the settings of Serve that it is compared by."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server listens.

    Attributes:
        grpc_address: "" = it speaks no gRPC.
        url: of its ranker over HTTP, "" = it speaks none.
        metadata: goes with each call.
    """

    grpc_address: str = ""
    url: str = ""
    metadata: tuple[tuple[str, str], ...] = ()


@contextmanager
def winnow(registry_url: str, data_dir: Path) -> Iterator[Server]:
    """Winnow's ranker with its defaults, but for the cache of encoded histories: it is to be compared without."""
    address = f"127.0.0.1:{free_port()}"
    environ = {
        "WINNOW_DATA_DIR": str(data_dir),
        "WINNOW_RANKING_ADDRESS": address,
        "WINNOW_RANKING_REGISTRY_URL": registry_url,
        "WINNOW_RANKING_METRICS_PORT": "0",
        "WINNOW_RANKING_HISTORY_CACHE_MIB": "0",
    }
    with running([sys.executable, "-m", "services.ranking"], environ, lambda: serves_grpc(address)):
        token = RunFolder(data_dir / "run").token()
        yield Server(address, metadata=(("authorization", f"Bearer {token}"),))


@contextmanager
def default_serve(bundle: Bundle) -> Iterator[Server]:
    """The same model behind Ray Serve's default proxies."""
    address, http_port = f"127.0.0.1:{free_port()}", free_port()
    command = [sys.executable, "-m", "tests.benchmarks.default_serve", str(bundle.path)]
    command += [address.rpartition(":")[2], str(http_port)]
    with running(command, RAY, lambda: serves_grpc(address)):
        yield Server(address, f"http://127.0.0.1:{http_port}/")


@contextmanager
def plain_grpc() -> Iterator[Server]:
    """A method that does nothing, without Ray."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "tests.benchmarks.plain_grpc", address.rpartition(":")[2]]
    with running(command, {}, lambda: serves_grpc(address)):
        yield Server(address)


def serves_grpc(address: str) -> bool:
    """Whether health says so."""
    with grpc.insecure_channel(address) as channel:
        try:
            answer = HealthStub(channel).Check(HealthCheckRequest(), timeout=ANSWER_SECONDS)
        except grpc.RpcError:
            return False
        return bool(answer.status == HealthCheckResponse.SERVING)


def serves_http(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except OSError:
        return False
