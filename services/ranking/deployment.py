"""The Ray Serve deployment: one replica is one process that answers `RankingService` and health by direct ingress.

Ray Serve finds the methods of a deployment by the name of the gRPC method. They get the request's bytes as they came
(`register` gives Serve no deserializer), so that nothing of a caller without the token is decoded.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from google.protobuf.message import Message
from ray import serve
from ray.serve import Application, Deployment
from ray.serve.config import gRPCOptions
from ray.serve.schema import LoggingConfig

from services.ranking.ingress import CHECK, RANK
from services.ranking.ray_plan import REPLICA_VARIABLES, ReplicaConfig
from services.ranking.serve_ingress import bind_ingress

HEALTH_PERIOD_SECONDS = 1
HEALTH_TIMEOUT_SECONDS = 10
GRACE_SECONDS = 5


class RankerReplica:
    """One replica of the ranker."""

    async def __init__(self, config: ReplicaConfig) -> None:  # type: ignore[misc]  # Ray Serve awaits it
        from services.ranking.replica import open_replica  # noqa: PLC0415 - torch belongs into replicas only

        rank = serve.get_replica_context().rank.local_rank
        if config.ports:
            bind_ingress(f"{config.settings.host}:{config.ports[rank]}")
        self._stack = AsyncExitStack()
        self._replica = await self._stack.enter_async_context(open_replica(config, rank))

    async def Rank(self, request: bytes, grpc_context: Any) -> Message:
        """Score candidates."""
        return await self._replica.answer(RANK, request, grpc_context)

    async def Check(self, request: bytes, grpc_context: Any) -> Message:
        """`grpc.health.v1.Health/Check`."""
        return await self._replica.answer(CHECK, request, grpc_context)

    async def __del__(self) -> None:
        """Ray Serve calls it once, after the last request."""
        await self._stack.aclose()


def build(config: ReplicaConfig) -> Application:
    """The application for `serve.run`, with everything that its replicas need."""
    settings = config.settings
    deployment: Deployment = serve.deployment(
        name="ranker",
        num_replicas=settings.replicas,
        # The replica's own queue refuses what is too much, with a reason; Serve's must never be the first to do so.
        max_ongoing_requests=2 * settings.queue_limit_requests,
        health_check_period_s=HEALTH_PERIOD_SECONDS,
        health_check_timeout_s=HEALTH_TIMEOUT_SECONDS,
        graceful_shutdown_timeout_s=GRACE_SECONDS,
        graceful_shutdown_wait_loop_s=0.1,
        ray_actor_options={
            "num_cpus": settings.replica_cpus,
            "num_gpus": settings.replica_gpus,
            "runtime_env": {"env_vars": _variables(config)},
        },
        logging_config=quiet_logs(),
    )(RankerReplica)
    return deployment.bind(config)


def _variables(config: ReplicaConfig) -> dict[str, str]:
    """The environment of replicas; numpy's threads must be bounded before it is imported."""
    threads = {"OMP_NUM_THREADS": str(config.settings.threads)}
    return threads | (REPLICA_VARIABLES if config.ports else {})


def grpc_options() -> gRPCOptions:
    """What Serve has to know of gRPC; of its own port only that it is on."""
    return gRPCOptions(
        port=9000, grpc_servicer_functions=["services.ranking.serve_ingress.register"], enable_reflection=False
    )


def quiet_logs() -> LoggingConfig:
    """Serve logs what breaks; the canonical line of each request is the ranker's own."""
    return LoggingConfig(log_level="ERROR", enable_access_log=False)
