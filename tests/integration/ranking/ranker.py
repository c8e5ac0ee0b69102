"""A ranker as its operators have it: a process of its own with Ray beside it, started, stopped and killed by tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from winnow.v1.ranking_service_pb2 import RankRequest, RankResponse
from winnow.v1.ranking_service_pb2_grpc import RankingServiceStub

from services.ranking.orphans import kill_marked, marked
from services.ranking.run_folder import RunFolder
from shared.kernel.errors import STATUS_DETAILS_KEY, ServiceError, from_status
from shared.model.registry import Registry
from tests.integration.ranking.toy import store_toy
from tests.ports import free_port

PATIENCE_SECONDS = 180.0
"""How long a slow machine may take for a start; no test asserts a time."""
SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition; fails when it does not come true."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < give_up, f"{what} did not happen within {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.05)


@dataclass
class Ranker:
    """One data folder and the process that runs its ranker, when it does."""

    data_dir: Path
    module: str = "tests.integration.ranking.toy_program"
    port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    environ: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    published: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.data_dir / "run")

    @property
    def log(self) -> str:
        return (self.data_dir / "ranker.log").read_text(encoding="utf-8")

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the process; does not wait."""
        environ = os.environ | {
            "WINNOW_DATA_DIR": str(self.data_dir),
            "WINNOW_RANKING_ADDRESS": self.address,
            "WINNOW_RANKING_METRICS_PORT": str(self.metrics_port),
            "WINNOW_RANKING_BUNDLE_POLL_SECONDS": "0.2",
            **self.environ,
        }
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir / "ranker.log").open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-m", self.module], env=environ, stderr=log)

    def signal(self, number: signal.Signals) -> int:
        """Send a signal to the process, wait for its end, and give its exit code."""
        assert self.process is not None, "it was never started"
        self.process.send_signal(number)
        code = self.process.wait()
        self.process = None
        return code

    def close(self) -> None:
        """Whatever happened, leave nothing behind."""
        if self.running:
            self.signal(signal.SIGKILL)
        kill_marked(self.folder.mark)

    def processes(self) -> list[int]:
        """Every process that belongs to its Ray."""
        return marked(self.folder.mark)

    def process_ids(self, name: str) -> list[int]:
        """The processes of its Ray whose command line holds `name`."""
        return [pid for pid in self.processes() if name in _command_line(pid)]

    def process_id(self, name: str) -> int:
        """The one process of its Ray whose command line holds `name`."""
        found = self.process_ids(name)
        assert len(found) == 1, f"{len(found)} processes called {name}"
        return found[0]

    def store(self, probability: float) -> str:
        """Store the next toy bundle without serving it; gives its version."""
        self.published += 1
        created_ms = 1_790_000_000_000 + self.published
        return store_toy(self.data_dir / "registry", self.data_dir / "scratch", probability, created_ms)

    def point_to(self, version: str) -> None:
        """Make a stored bundle the current one."""
        Registry(str(self.data_dir / "registry")).rollback(version)

    def publish(self, probability: float) -> str:
        """Publish the next toy bundle; gives its version."""
        version = self.store(probability)
        self.point_to(version)
        return version

    def health(self) -> int | None:
        """What health says; None while nobody answers."""
        with self.channel() as channel:
            try:
                answer: HealthCheckResponse = HealthStub(channel).Check(HealthCheckRequest(), timeout=5)
                return int(answer.status)
            except grpc.RpcError:
                return None

    def wait_for(self, status: int | None) -> None:
        """Wait until health says this."""
        wait_until(lambda: self.health() == status, f"health {status}")

    def rank(self, request: RankRequest) -> RankResponse:
        """Call it with its token."""
        with self.channel() as channel:
            return RankingServiceStub(channel).Rank(request, timeout=10, metadata=self.credentials())

    def credentials(self) -> tuple[tuple[str, str]]:
        """The metadata of an authorized call."""
        return (("authorization", f"Bearer {self.folder.token()}"),)

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """A fresh connection."""
        with grpc.insecure_channel(self.address) as channel:
            yield channel


def rank_request(*item_ids: str, budget_ms: int = 10_000) -> RankRequest:
    """A request of a cold user."""
    request = RankRequest(budget_ms=budget_ms)
    request.candidates.item_ids.extend(item_ids)
    return request


def refusal(call: Callable[[], object]) -> tuple[grpc.StatusCode, ServiceError]:
    """The status of a call that must fail, and its details, which must hold exactly one ErrorInfo."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    error = raised.value
    details = next(each.value for each in error.trailing_metadata() if each.key == STATUS_DETAILS_KEY)
    status = status_pb2.Status.FromString(details)
    assert sum(each.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for each in status.details) == 1
    return error.code(), from_status(status)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
