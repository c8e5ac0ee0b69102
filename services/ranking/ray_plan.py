"""What a Ray Serve of the ranker is started with: its environment, and what each replica is given."""

from __future__ import annotations

import math
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from services.ranking.run_folder import RunFolder
from services.ranking.scoring import Scorer
from services.ranking.settings import RankingSettings
from shared.kernel.process import ProcessSettings
from shared.model.bundle import Bundle

LoadScorer = Callable[[Bundle, int], Scorer]

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
