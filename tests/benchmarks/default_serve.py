"""Winnow's model as a user of Ray Serve's documentation would serve it: behind its default gRPC and HTTP proxies.

usage: python -m tests.benchmarks.default_serve BUNDLE_FOLDER GRPC_PORT HTTP_PORT

No token, no checks, no batches, no limits of a queue: what Ray Serve does by itself. Ray is started as for Winnow's own
ranker, on loopback and without dashboard.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import grpc
import ray
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from ray import serve
from ray.serve._private import default_impl
from ray.serve.config import HTTPOptions, gRPCOptions
from starlette.requests import Request
from winnow.v1.ranking_service_pb2 import RankRequest, RankResponse
from winnow.v1.ranking_service_pb2_grpc import add_RankingServiceServicer_to_server

from services.ranking import ray_process
from services.ranking.replacement import replace_function
from shared.domain.provenance import Provenance
from shared.kernel.clock import system_clock
from shared.model.bundle import open_bundle
from shared.model.execution import Execution
from shared.model.ranker import RankerModel
from shared.wire.ranking import ranking_request_from_proto, ranking_result_to_proto
from tests.benchmarks.peers.questions import answer_of, request_of

THREADS = 1


@serve.deployment
class DefaultRanker:
    """The model and nothing else."""

    def __init__(self, bundle_folder: str) -> None:
        self._model = RankerModel.load(open_bundle(Path(bundle_folder)), Execution(threads=THREADS))

    def Check(self, request: HealthCheckRequest) -> HealthCheckResponse:
        """Do nothing."""
        return HealthCheckResponse(status=HealthCheckResponse.SERVING)

    def Rank(self, request: RankRequest) -> RankResponse:
        """Score candidates, over gRPC."""
        (result,) = self._model.score([ranking_request_from_proto(request, system_clock())])
        return ranking_result_to_proto(result, Provenance(model_version=result.model_version))

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Score candidates, as JSON over HTTP."""
        (result,) = self._model.score([request_of(await request.json())])
        return answer_of(result)


def listen_on_loopback() -> None:
    """Ray calls it at the start of each worker: Serve's gRPC proxy would else listen on every interface."""

    def add_grpc_address(server: grpc.aio.Server, address: str) -> None:
        server.add_insecure_port(f"127.0.0.1:{address.rpartition(':')[2]}")

    replace_function(default_impl, "add_grpc_address", add_grpc_address)


def main() -> None:
    """Serve until killed."""
    bundle_folder, grpc_port, http_port = sys.argv[1:]
    ray_process._trim_ray()
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:
        ray.init(
            "local",
            num_cpus=os.cpu_count(),
            object_store_memory=ray_process.OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"worker_process_setup_hook": "tests.benchmarks.default_serve.listen_on_loopback"},
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
        )
        services = (add_HealthServicer_to_server, add_RankingServiceServicer_to_server)
        names = [f"{each.__module__}.{each.__name__}" for each in services]
        serve.start(
            http_options=HTTPOptions(host="127.0.0.1", port=int(http_port)),
            grpc_options=gRPCOptions(port=int(grpc_port), grpc_servicer_functions=names),
        )
        serve.run(DefaultRanker.bind(bundle_folder))
        signal.pause()


if __name__ == "__main__":
    main()
