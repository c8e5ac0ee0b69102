"""The services as a deployment runs them: each a process with its own certificate and the shipped policy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from winnow.v1 import catalog_service_pb2, catalog_service_pb2_grpc, item_pb2

from tests.certificates import LOOPBACK, Authority, write_files
from tests.e2e.product import wait_until
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "deploy" / "kubernetes" / "base" / "policy.yaml"
SERVICES = ("feedback", "feature", "candidate_generation", "recommendation")
START_SECONDS, STOP_SECONDS = 60, 30
SHOP = "spiffe://cluster.local/ns/shop/sa/backend"
"""A caller of another team, as the shipped policy names one."""
PSEUDONYM_KEY = "the key of pseudonyms, which nobody may see"
PAGE_SECRET = "the secret of page tokens, which nobody may see"


@dataclass(slots=True)
class Deployment:
    """Addresses, certificates and folders of a product whose services are processes.

    Attributes:
        folder: of everything: certificates, data and logs.
        authority: that everybody trusts.
        traces: where they send traces that a caller asks for; "": nowhere.
        ports: of the services, of their plain health and of their metrics, by service.
    """

    folder: Path
    authority: Authority = field(default_factory=Authority)
    traces: str = ""
    ports: dict[str, tuple[int, int, int]] = field(
        default_factory=lambda: {name: (free_port(), free_port(), free_port()) for name in SERVICES}
    )

    def address(self, name: str) -> str:
        """Where a service answers calls."""
        return f"127.0.0.1:{self.ports[name][0]}"

    def log(self, name: str) -> str:
        """What a service has logged so far."""
        return (self.folder / f"{name}.log").read_text()

    def fill(self) -> None:
        """Some items, sent by a caller of another team."""
        items = [item_pb2.Item(item_id=f"i{n}", title=f"Item {n}", categories=["lamps"]) for n in range(20)]
        with self.calling("feedback", SHOP) as channel:
            stub = catalog_service_pb2_grpc.CatalogServiceStub(channel)
            stub.UpsertItems(catalog_service_pb2.UpsertItemsRequest(items=items), timeout=START_SECONDS)

    def metrics(self, name: str) -> str:
        """What Prometheus would read of a service."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name][2]}/metrics") as answer:
            return str(answer.read().decode())

    @contextmanager
    def running(self, *names: str) -> Iterator[None]:
        """Run the named services until the block ends; each must end by itself on SIGTERM."""
        with ExitStack() as stack:
            for name in names or SERVICES:
                stack.enter_context(self._process(name))
            for name in names or SERVICES:
                wait_until(partial(self._healthy, name), START_SECONDS, partial(self.log, name))
            yield

    @contextmanager
    def calling(self, name: str, identity: str) -> Iterator[grpc.Channel]:
        """A channel to a service for a caller with a certificate."""
        credentials = self.authority.credentials(self.authority.issue_spiffe(identity))
        with grpc.secure_channel(self.address(name), credentials) as channel:
            yield channel

    @contextmanager
    def _process(self, name: str) -> Iterator[None]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"services.{name}"], env=self._environment(name), stdout=log, stderr=log
            )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            finally:
                process.kill()
        assert process.returncode == 0, self.log(name)[-3000:]

    def _environment(self, name: str) -> dict[str, str]:
        identity = f"spiffe://winnow/{name.replace('_', '-')}"
        files = write_files(self.folder / name, self.authority.issue_spiffe(identity, LOOPBACK), self.authority)
        _, health_port, metrics_port = self.ports[name]
        prefix = f"WINNOW_{name.upper()}"
        return {
            **os.environ,
            "PYTHONPATH": f"{ROOT}:{ROOT / 'shared' / 'stubs'}",
            "WINNOW_PROFILE": "production",
            "WINNOW_DATA_DIR": str(self.folder / name / "data"),
            "WINNOW_POLICY_FILE": str(POLICY),
            "WINNOW_TLS_CERTIFICATE_FILE": str(files.certificate),
            "WINNOW_TLS_KEY_FILE": str(files.key),
            "WINNOW_TLS_AUTHORITY_FILE": str(files.authority),
            "WINNOW_LOG_PSEUDONYM_KEY": PSEUDONYM_KEY,
            "WINNOW_LOG_LEVEL": "debug",
            "WINNOW_TRACING_OTLP_ENDPOINT": self.traces,
            "WINNOW_TRACING_SAMPLE_RATIO": "0",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
            f"{prefix}_ADDRESS": self.address(name),
            f"{prefix}_HEALTH_ADDRESS": f"127.0.0.1:{health_port}",
            f"{prefix}_METRICS_PORT": str(metrics_port),
            "WINNOW_FEATURE_FEEDBACK_ADDRESS": self.address("feedback"),
            "WINNOW_CANDIDATE_GENERATION_FEATURE_ADDRESS": self.address("feature"),
            "WINNOW_RECOMMENDATION_FEEDBACK_ADDRESS": self.address("feedback"),
            "WINNOW_RECOMMENDATION_FEATURE_ADDRESS": self.address("feature"),
            "WINNOW_RECOMMENDATION_CANDIDATE_GENERATION_ADDRESS": self.address("candidate_generation"),
            "WINNOW_RECOMMENDATION_RANKING_ADDRESS": "127.0.0.1:1",
            "WINNOW_RECOMMENDATION_PAGE_TOKEN_SECRET": PAGE_SECRET,
            "WINNOW_RECOMMENDATION_BUDGET_MS": "60000",  # the machine's speed must not decide a test
        }

    def _healthy(self, name: str) -> bool:
        with grpc.insecure_channel(f"127.0.0.1:{self.ports[name][1]}") as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
            except grpc.RpcError:
                return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING
