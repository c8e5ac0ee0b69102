"""The product as a cluster runs it: several pods of each service, found by names whose addresses change as pods do.

A pod is a process with an address of its own (127.0.0.2 and on) on its service's port; a name server in the test gives
the addresses of the ready ones, as a headless Service does.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from winnow.v1 import (
    catalog_service_pb2,
    catalog_service_pb2_grpc,
    feature_service_pb2,
    feature_service_pb2_grpc,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    item_pb2,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
)

from shared.model.bundle import MANIFEST, Manifest
from tests.e2e.parts import NAMES, TOKEN
from tests.e2e.product import START_SECONDS, STOP_SECONDS, click, free_port, wait_until
from tests.name_server import Names

PODS = {"feedback": 1, "feature": 2, "candidate_generation": 2, "ranking": 2, "recommendation": 2}
"""The log has one writer: while it restarts, its callers try again."""
ASKED = {
    "feature": ("feedback",),
    "candidate_generation": ("feature",),
    "recommendation": ("feedback", "feature", "candidate_generation", "ranking"),
}
LAME_DUCK_MS = 500
DEADLINE_S = 1.5
"""Of a call, as a caller sets it. It held in 12 rounds of these tests on two cores with a load of 5 to 26."""
NEVER_LATE = {"WINNOW_RECOMMENDATION_TARGET_MS": "0", "WINNOW_RECOMMENDATION_LATE_MS": "0"}
"""Nothing is refused or ranked less because a machine full of tests is slow."""
ITEMS, POPULAR = 500, 100
CALLS_AGAIN = Path(__file__).parents[2] / "protos" / "clients" / "service_config.json"
"""How callers of other teams are told to call: by turns, and again what nobody answered."""
numbers = count(2)


@dataclass(slots=True, eq=False)
class Pod:
    """One process of a service."""

    name: str
    host: str
    folder: Path
    process: subprocess.Popen[bytes]


@dataclass
class Replicas:
    """Pods of every service.

    Attributes:
        folder: of their data and logs.
        registry: of bundles.
        names: tells the addresses of the ready pods.
    """

    folder: Path
    registry: Path
    names: Names = field(default_factory=Names)
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in NAMES})
    pods: dict[str, list[Pod]] = field(default_factory=lambda: {name: [] for name in NAMES})

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run as many as `PODS` says until the block ends."""
        with self.names.serving():
            try:
                for name in NAMES:
                    started = [self._start(name) for _ in range(PODS[name])]
                    for pod in started:
                        self._admit(pod)
                    if name == "feedback":
                        self._fill()
                yield
            finally:
                everyone = [pod for name in reversed(NAMES) for pod in self.pods[name]]
                for pod in everyone:
                    pod.process.send_signal(signal.SIGTERM)
                for pod in everyone:
                    pod.process.wait(STOP_SECONDS)

    def connect(self) -> grpc.Channel:
        """A channel to the front, as callers of other teams open it."""
        options = [
            ("grpc.service_config", CALLS_AGAIN.read_text(encoding="utf-8")),
            ("grpc.dns_min_time_between_resolutions_ms", 1000),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        return grpc.insecure_channel(self._target("recommendation"), options)

    def roll(self, name: str) -> None:
        """Replace every pod of a service, one after the other, as Kubernetes does."""
        for pod in list(self.pods[name]):
            self._dismiss(pod)
            pod.process.send_signal(signal.SIGTERM)
            assert pod.process.wait(STOP_SECONDS) == 0, self._said(pod)
            self._admit(self._start(name))

    def lose(self, name: str) -> None:
        """A node with one pod of the service is gone; after a while there is another."""
        pod = self.pods[name][0]
        self._kill(pod)
        self._dismiss(pod)
        self._admit(self._start(name))

    def versions(self) -> set[str]:
        """The bundles that one slate was made with."""
        with self.connect() as channel:
            stub = recommendation_service_pb2_grpc.RecommendationServiceStub(channel)
            header = stub.Recommend(
                recommendation_service_pb2.RecommendRequest(user_id="1"), timeout=START_SECONDS
            ).header
        return {header.model_version, header.index_version}

    def event_ids(self, user_id: str) -> list[str]:
        """What the feature store knows of a user, the newest last."""
        with grpc.insecure_channel(self._target("feature")) as channel:
            stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
            request = feature_service_pb2.GetUserStateRequest(user_id=user_id)
            state = stub.GetUserState(request, timeout=START_SECONDS).user_state
        return [event.event_id for event in state.history]

    def record(self, event_id: str, user_id: str, item_id: str) -> None:
        """Record an event; tried again, with the same id, until the log says it has it."""
        with grpc.insecure_channel(self._target("feedback"), [("grpc.max_reconnect_backoff_ms", 1000)]) as channel:
            stub = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
            request = feedback_service_pb2.RecordEventsRequest(events=[click(event_id, user_id, item_id)])
            wait_until(lambda: _taken(stub, request), START_SECONDS)

    def _fill(self) -> None:
        """Put a small catalogue into the log, so that pods are soon ready, and likes, so that a page can be popular."""
        items = [
            item_pb2.Item(item_id=str(n), title=f"Item {n}", categories=[f"c{n % 7}"]) for n in range(1, 1 + ITEMS)
        ]
        with grpc.insecure_channel(self._target("feedback")) as channel:
            stub = catalog_service_pb2_grpc.CatalogServiceStub(channel)
            stub.UpsertItems(catalog_service_pb2.UpsertItemsRequest(items=items), timeout=START_SECONDS)
            liked = [click(f"like-{n}", f"fan-{n}", str(n)) for n in range(1, 1 + POPULAR)]
            log = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
            log.RecordEvents(feedback_service_pb2.RecordEventsRequest(events=liked), timeout=START_SECONDS)

    def _target(self, name: str) -> str:
        return self.names.target(f"winnow-{name}", self.ports[name])

    def _start(self, name: str) -> Pod:
        number = next(numbers)
        folder = self.folder / (name if name == "feedback" else f"{name}-{number}")  # a volume is the log's alone
        folder.mkdir(exist_ok=True)
        host = f"127.0.0.{number}"
        command = [sys.executable, "-m", f"services.{name}"]
        with (self.folder / f"{name}-{number}.log").open("ab") as log:
            environ = {**os.environ, **self._variables(name, host, folder)}
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        pod = Pod(name, host, folder, process)
        self.pods[name].append(pod)
        return pod

    def _admit(self, pod: Pod) -> None:
        """Let others find a pod as soon as it is ready."""
        wait_until(lambda: self._ready(pod), START_SECONDS, lambda: self._said(pod))
        self.names.addresses.setdefault(f"winnow-{pod.name}", []).append(pod.host)

    def _dismiss(self, pod: Pod) -> None:
        self.names.addresses[f"winnow-{pod.name}"].remove(pod.host)
        self.pods[pod.name].remove(pod)

    def _kill(self, pod: Pod) -> None:
        pod.process.kill()
        pod.process.wait()

    def _ready(self, pod: Pod) -> bool:
        assert pod.process.poll() is None, self._said(pod)
        with grpc.insecure_channel(f"{pod.host}:{self.ports[pod.name]}") as channel:
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
            except grpc.RpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def _said(self, pod: Pod) -> str:
        (log,) = self.folder.glob(f"{pod.name}-{pod.host.rpartition('.')[2]}.log")
        return log.read_text()[-3000:]

    def _variables(self, name: str, host: str, folder: Path) -> dict[str, str]:
        own = f"WINNOW_{name.upper()}"
        return {
            "WINNOW_DATA_DIR": str(folder),
            "WINNOW_CONTENT_TEXT_ENCODER": "none",
            "WINNOW_LIMIT_LAME_DUCK_MS": str(LAME_DUCK_MS),
            f"{own}_ADDRESS": f"{host}:{self.ports[name]}",
            f"{own}_METRICS_PORT": "0",
            f"{own}_REGISTRY_URL": str(self.registry),
            **{f"{own}_{other.upper()}_ADDRESS": self._target(other) for other in ASKED.get(name, ())},
            "WINNOW_RANKING_TOKEN": TOKEN,
            "WINNOW_RECOMMENDATION_RANKING_TOKEN": TOKEN,
            **NEVER_LATE,
        }


def another_bundle(registry: Path) -> Path:
    """A copy of the served bundle under a later version, ready to be published."""
    served = (registry / "current").read_text().strip()
    made = shutil.copytree(registry / "bundles" / served, registry.parent / "another")
    manifest = Manifest.model_validate_json((made / MANIFEST).read_text())
    later = manifest.model_copy(update={"version": f"{int(served[:8]) + 1}{served[8:]}"})
    sealed = later.model_copy(update={"checksum": later.computed_checksum()})
    (made / MANIFEST).write_text(sealed.model_dump_json())
    return made


def _taken(
    stub: feedback_service_pb2_grpc.FeedbackServiceStub, request: feedback_service_pb2.RecordEventsRequest
) -> bool:
    try:
        answer = stub.RecordEvents(request, timeout=5)
    except grpc.RpcError as error:
        if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            raise
        return False
    return [status.code for status in answer.statuses] == [0]
