"""Settings of the ranker."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from shared.kernel.config import ServiceSettings


class RankingSettings(ServiceSettings, prefix="RANKING"):
    """Where the ranker listens, how many replicas of it run on Ray Serve, and what they may use."""

    address: str = Field(
        "127.0.0.1:50054",
        description="host:port that callers reach; of several replicas each next one takes the next port, port 0 takes "
        "free ones",
    )
    metrics_port: int = Field(
        51054, ge=0, le=65535, description="port of the first replica's Prometheus metrics, others follow; 0: none"
    )
    token: SecretStr | None = Field(
        None,
        description="callers send it as `authorization: Bearer TOKEN`; default: made at the first start and kept in "
        "DATA_DIR/run/ranking_token",
    )
    registry_url: str = Field("", description="folder or fsspec URL of bundles; empty: DATA_DIR/registry")
    bundle_poll_seconds: float = Field(1.0, gt=0, description="how often the registry's pointer is read")
    replicas: int = Field(1, ge=1, le=64, description="processes that score")
    replica_cpus: float = Field(1.0, ge=0, description="processors that Ray keeps for each replica")
    replica_gpus: float = Field(0.0, ge=0, description="GPUs that Ray keeps for each replica")
    threads: int = Field(1, ge=1, le=256, description="threads of a replica's forward pass")
    device: str = Field(
        "auto",
        pattern="^(auto|cpu|cuda(:[0-9]+)?)$",
        description="auto, cpu or cuda; auto: a GPU where a replica has one",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the forward pass; auto: what is faster here, measured when a bundle is loaded"
    )
    graphs: Literal["auto", "off"] = Field(
        "auto",
        description="auto: on a GPU, candidates are scored in fixed shapes that are compiled and recorded as CUDA "
        "graphs when a bundle is loaded, where that works and is faster; off: never",
    )
    history_cache_mib: int = Field(
        64, ge=0, le=65_536, description="a replica's memory for encoded histories, each kept for ten minutes; 0: none"
    )
    request_limit_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="largest request that is read")
    queue_limit_requests: int = Field(
        256, ge=1, description="requests that may wait in a replica; more are refused at once"
    )
    batch_limit_candidates: int = Field(
        1024, ge=1, description="candidates that one forward pass takes on; a larger single request runs alone"
    )
    ray_address: str = Field(
        "", description="a running Ray cluster's address, or `auto`; empty: an own Ray on this machine"
    )
    ingress: Literal["direct", "serve"] = Field(
        "direct",
        description="direct: each replica listens on the address itself; serve: Ray Serve's proxies do on a cluster, "
        "and the address is theirs",
    )

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, address: str) -> str:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError("must be host:port, as in 127.0.0.1:50054")
        return address

    @property
    def host(self) -> str:
        """The host part of the address."""
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port part of the address."""
        return int(self.address.rpartition(":")[2])

    @property
    def run_dir(self) -> Path:
        """What lives as long as the process: pid file, lock, Ray's sockets."""
        return self.data_dir.absolute() / "run"

    @property
    def registry(self) -> str:
        """The URL of the registry, the default filled in."""
        return self.registry_url or str(self.data_dir.absolute() / "registry")
