"""Runs Ray Serve for the ranker beside this process and keeps it running: the supervision.

Ray lives in a child (`ray_process.py`) with a session of its own. Whatever ends this process, `kill -9` included,
closes the child's standard input, and the child then ends all of Ray. Should both be killed at once, the
next start finds what is left by the mark in its environment (`orphans.py`) before it starts anew. Should Ray break, it
is ended and started again. `ray_plan.py` owns Ray's environment and ports.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import pickle
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Final

import grpc
import structlog
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from services.ranking.orphans import kill_marked
from services.ranking.ports import check_metrics_ports, reserved_ports
from services.ranking.ray_plan import LoadScorer, RayPlan, ReplicaConfig, environment
from services.ranking.ray_process import STOP
from services.ranking.run_folder import RunFolder
from services.ranking.settings import RankingSettings
from shared.kernel.background import Supervised
from shared.kernel.config import ConfigError
from shared.kernel.process import ProcessSettings
from shared.kernel.readiness import Readiness

STOP_SECONDS: Final = 10.0
HEALTH_SECONDS: Final = 0.25
HEALTH_TIMEOUT_SECONDS: Final = 2.0

log = structlog.get_logger()


class RayBrokenError(Exception):
    """Ray, or the process that runs it, ended by itself."""


@dataclass(frozen=True, slots=True)
class RayServe:
    """A Ray Serve that runs the ranker.

    Attributes:
        addresses: host:port of each replica.
        target: all of them as one gRPC target; a client spreads its calls with `round_robin`.
        token: callers send it as `authorization: Bearer TOKEN`.
        readiness: ready while at least one replica has a bundle.
    """

    addresses: tuple[str, ...]
    token: str = field(repr=False)
    readiness: Readiness = field(default_factory=Readiness)

    @property
    def target(self) -> str:
        """One address as it is, several as a list that gRPC's name resolution takes."""
        return self.addresses[0] if len(self.addresses) == 1 else f"ipv4:{','.join(self.addresses)}"


@asynccontextmanager
async def open_ray_serve(
    settings: RankingSettings, process: ProcessSettings, folder: RunFolder, load: LoadScorer | None = None
) -> AsyncIterator[RayServe]:
    """Start Ray Serve with the ranker and keep it running while this lasts. Does not wait until it is ready.

    Raises:
        ConfigError: Ray is not installed, or the address is taken.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError("the ranker needs Ray, which is not installed; install winnow[ranking]")
    await _clear(folder)
    check_metrics_ports(settings, process.metrics_host)
    with nullcontext(()) if settings.ingress == "serve" else reserved_ports(settings) as ports:
        addresses = tuple(f"{settings.host}:{port}" for port in ports) or (settings.address,)
        token = settings.token.get_secret_value() if settings.token else folder.token()
        pipe = None if settings.ray_address else folder.path / "ranking.log.pipe"
        replica = ReplicaConfig(settings, process, token, ports, pipe, sys.stderr.isatty(), load)
        runtime = RayServe(addresses, token)
        async with Supervised(runtime.readiness) as tasks:
            tasks.start("ray", lambda: _run(RayPlan(replica, folder.ray_dir), folder))
            tasks.start("ranker health", lambda: _watch_health(runtime))
            yield runtime


async def _run(plan: RayPlan, folder: RunFolder) -> None:
    """Run Ray until it breaks or this is cancelled."""
    await _clear(folder)
    folder.make_ray_dir()
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.ranking.ray_process",
        stdin=PIPE,
        stdout=PIPE,
        env=environment(plan, folder, os.environ),
        start_new_session=True,
    )
    try:
        folder.write_pid(child.pid)
        await _hand_over(child, plan)
        raise RayBrokenError(await _reports(child))
    finally:
        await _stop(child)
        await _clear(folder)


async def _hand_over(child: Process, plan: RayPlan) -> None:
    assert child.stdin is not None, "a pipe was asked for"  # noqa: S101 - for the type checker
    child.stdin.write(pickle.dumps(plan))
    await child.stdin.drain()


async def _reports(child: Process) -> str:
    """Read what the child tells until it ends; gives why."""
    assert child.stdout is not None, "a pipe was asked for"  # noqa: S101 - for the type checker
    reason = "the process that runs Ray ended without a word"
    async for line in child.stdout:
        told = json.loads(line)
        log.info("ranking.ray", **told)
        reason = told.get("reason", reason)
    return reason


async def _stop(child: Process) -> None:
    """Ask the child to let requests finish and to end Ray; `_clear` sees to what does not obey."""
    if child.returncode is not None or child.stdin is None:
        return
    try:
        child.stdin.write(STOP)
        await child.stdin.drain()
        await asyncio.wait_for(child.wait(), STOP_SECONDS)
    except (ConnectionError, TimeoutError):
        log.warning("ranking.ray_stop_forced")


async def _clear(folder: RunFolder) -> None:
    """End what is left of an earlier Ray of this data folder, and take away its files."""
    killed = await asyncio.to_thread(kill_marked, folder.mark)
    if killed:
        log.warning("ranking.orphans_ended", processes=killed)
    folder.remove_pid()
    await asyncio.to_thread(folder.remove_ray_dir)


async def _watch_health(runtime: RayServe) -> None:
    """Ask the replicas for ever; they answer by themselves only once they have a bundle."""
    async with grpc.aio.insecure_channel(
        runtime.target, [("grpc.lb_policy_name", "round_robin"), ("grpc.max_reconnect_backoff_ms", 500)]
    ) as channel:
        stub = HealthStub(channel)
        while True:
            try:
                answer = await stub.Check(HealthCheckRequest(), timeout=HEALTH_TIMEOUT_SECONDS)
                serving = answer.status == HealthCheckResponse.SERVING
                runtime.readiness.set(serving, "the ranker has no bundle")
            except grpc.aio.AioRpcError as error:
                runtime.readiness.set(ready=False, reason=f"the ranker does not answer ({error.code().name})")
            await asyncio.sleep(HEALTH_SECONDS)
