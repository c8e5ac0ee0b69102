"""What a Ray Serve of the ranker is started with: its ports, its environment, and what each replica is given."""

from __future__ import annotations

import math
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.ranking.run_folder import RunFolder
from services.ranking.scoring import Scorer
from services.ranking.settings import RankingSettings
from shared.kernel.config import ConfigError
from shared.kernel.process import ProcessSettings
from shared.model.bundle import Bundle

LoadScorer = Callable[[Bundle, int], Scorer]

PORT_ATTEMPTS: Final = 50
MESSAGE_HEADROOM: Final = 2
"""Messages up to this many times the limit are read, so that the refusal can say why; gRPC itself cuts off the rest."""
LOG_FILE_BYTES: Final = 8 * 1024 * 1024
CONTROLLER_VARIABLES: Final = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"}
REPLICA_VARIABLES: Final = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1"}
"""Direct ingress for replicas only: a controller that knows of it starts an HTTP and gRPC proxy that nobody calls."""


@dataclass(frozen=True, slots=True)
class ReplicaConfig:
    """What a replica is given.

    Attributes:
        token: callers must send it.
        ports: by its rank among the replicas of its machine; empty: Ray Serve gives it one.
        log_pipe: where its log lines go; None: to the standard error that Ray gives it.
        log_terminal: whether lines end up on a terminal.
        load: makes the scorer of a bundle, given its threads; None: the bundle's own ranker.
    """

    settings: RankingSettings
    process: ProcessSettings
    token: str = field(repr=False)
    ports: tuple[int, ...]
    log_pipe: Path | None = None
    log_terminal: bool = False
    load: LoadScorer | None = None


@dataclass(frozen=True, slots=True)
class RayPlan:
    """What the process that runs Ray is given."""

    replica: ReplicaConfig
    ray_dir: Path

    @property
    def cpus(self) -> int:
        """Processors of an own Ray: what the replicas take; Ray's other processes are not counted."""
        settings = self.replica.settings
        return max(1, math.ceil(settings.replicas * settings.replica_cpus))

    @property
    def gpus(self) -> float:
        """GPUs of an own Ray."""
        return self.replica.settings.replicas * self.replica.settings.replica_gpus


def chosen_ports(settings: RankingSettings) -> tuple[int, ...]:
    """The ports of the replicas, one each, all free at this moment.

    Raises:
        ConfigError: one is taken.
    """
    if settings.port:
        ports = range(settings.port, settings.port + settings.replicas)
        _try_ports(settings.host, ports, "WINNOW_RANKING_ADDRESS")
        return tuple(ports)
    for _ in range(PORT_ATTEMPTS):
        first = _free_port(settings.host)
        ports = range(first, min(first + settings.replicas, 65536))
        try:
            _try_ports(settings.host, ports, "WINNOW_RANKING_ADDRESS")
        except ConfigError:
            continue
        if len(ports) == settings.replicas:
            return tuple(ports)
    raise ConfigError(f"{settings.host} has no {settings.replicas} free ports in a row; set WINNOW_RANKING_ADDRESS")


def check_metrics_ports(settings: RankingSettings, host: str) -> None:
    """Replicas would fail one after the other to serve their metrics on a taken port.

    Raises:
        ConfigError: one is taken.
    """
    if settings.metrics_port:
        ports = range(settings.metrics_port, settings.metrics_port + settings.replicas)
        _try_ports(host, ports, "WINNOW_RANKING_METRICS_PORT")


def environment(plan: RayPlan, folder: RunFolder, inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of the process that runs Ray, and so of all of Ray's processes.

    Variables that are set already win over ours where an operator may know better, and lose where the supervision or
    the security of the ranker depends on them.
    """
    settings = plan.replica.settings
    name, _, value = folder.mark.partition("=")
    wanted = {
        "RAY_memory_monitor_refresh_ms": "0",  # on a full machine the kernel chooses whom to end, not Ray
        "RAY_worker_niceness": "0",  # Ray's 15 lets everything else on the machine go before the ranker
        "RAY_ROTATION_MAX_BYTES": str(LOG_FILE_BYTES),
        "RAY_ROTATION_BACKUP_COUNT": "1",
    }
    needed = {
        name: value,
        "SPT_NOENV": "1",  # Ray's process titles would else overwrite the environment, and with it the mark
        "RAY_ENABLE_AUTO_CONNECT": "0",  # a late call must not start a second Ray
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join(_import_roots()),
    }
    if not settings.ray_address:
        needed |= {
            **CONTROLLER_VARIABLES,
            "RAY_AUTH_MODE": "token",  # Ray's own ports are on loopback, where other users of the machine are, too
            "RAY_AUTH_TOKEN": secrets.token_hex(32),  # given here, it is not written into the home folder
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
            "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(MESSAGE_HEADROOM * settings.request_limit_bytes),
        }
    return wanted | dict(inherited) | needed


def _import_roots() -> list[str]:
    """What this process can import, its replicas can import."""
    return [str(Path(root).absolute()) for root in sys.path if Path(root or ".").is_dir()]


def _free_port(host: str) -> int:
    with _bound(host, 0) as taken:
        return int(taken.getsockname()[1])


def _try_ports(host: str, ports: range, variable: str) -> None:
    with ExitStack() as stack:
        for port in ports:
            try:
                stack.enter_context(_bound(host, port))
            except OSError as error:
                raise ConfigError(
                    f"the ranker cannot listen on {host}:{port}: {error.strerror}; "
                    f"end the process that does, or set {variable}"
                ) from error


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    return listener
