"""The whole product as its users run it: `winnow serve` in a process of its own, on MovieLens-100K."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from winnow.v1 import (
    event_pb2,
    feature_service_pb2,
    feature_service_pb2_grpc,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    monitoring_service_pb2,
    monitoring_service_pb2_grpc,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
    slate_pb2,
)

from tests.ports import free_port

MOMENT_S = 1_760_000_000
START_SECONDS, STOP_SECONDS, CALL_SECONDS = 120, 40, 10


@dataclass(slots=True)
class Product:
    """A data folder and the command that serves it.

    Attributes:
        data_dir: with a log and a bundle in it.
        address: of all services.
        variables: more of the environment.
    """

    data_dir: Path
    address: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    ranking_address: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    variables: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def serving(self) -> Iterator[Running]:
        """Serve until the block ends; then SIGTERM, and the process must end by itself."""
        process = self.start()
        try:
            running = Running(self, process)
            running.wait_ready()
            yield running
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(STOP_SECONDS)

    def start(self) -> subprocess.Popen[bytes]:
        """Start the command; its log goes to a file of the data folder."""
        ports = {"WINNOW_ADDRESS": self.address, "WINNOW_RANKING_ADDRESS": self.ranking_address}
        quiet = {"WINNOW_METRICS_PORT": "0", "WINNOW_RANKING_METRICS_PORT": "0"}
        environment = {**os.environ, **ports, **quiet, **self.variables, "WINNOW_DATA_DIR": str(self.data_dir)}
        with (self.data_dir / "serve.log").open("ab") as log:
            command = [sys.executable, "-m", "services", "serve"]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


@dataclass(slots=True)
class Running:
    """The product while it serves.

    Attributes:
        product: which one.
        process: of the command.
        channel: to all services.
        served: ids of all slates that came.
    """

    product: Product
    process: subprocess.Popen[bytes]
    channel: grpc.Channel = field(init=False)
    served: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channel = grpc.insecure_channel(self.product.address)

    def wait_ready(self) -> None:
        """Until every service, the ranker included, does its work."""
        wait_until(self.all_serving, START_SECONDS, lambda: (self.product.data_dir / "serve.log").read_text()[-3000:])

    def all_serving(self) -> bool:
        """Whether the front answers, the projection has caught up and a replica of the ranker has a bundle."""
        assert self.process.poll() is None, (self.product.data_dir / "serve.log").read_text()[-3000:]
        return _healthy(self.channel) and _healthy(grpc.insecure_channel(self.product.ranking_address))

    def recommend(self, user_id: str, **options: object) -> recommendation_service_pb2.RecommendResponse:
        """A slate."""
        stub = recommendation_service_pb2_grpc.RecommendationServiceStub(self.channel)
        request = recommendation_service_pb2.RecommendRequest(user_id=user_id, **options)  # type: ignore[arg-type]
        return self._noted(stub.Recommend(request, timeout=CALL_SECONDS))

    def recommend_session(
        self, events: Sequence[event_pb2.Event], **options: object
    ) -> recommendation_service_pb2.RecommendResponse:
        """A slate for an anonymous session, as of `MOMENT_S`."""
        stub = recommendation_service_pb2_grpc.RecommendationServiceStub(self.channel)
        request = recommendation_service_pb2.RecommendRequest(
            session=recommendation_service_pb2.Session(events=events),
            context=slate_pb2.RequestContext(time=Timestamp(seconds=MOMENT_S)),
            **options,  # type: ignore[arg-type]
        )
        return self._noted(stub.Recommend(request, timeout=CALL_SECONDS))

    def record(self, *events: event_pb2.Event) -> str:
        """Record events, all of which must be taken; gives the watermark."""
        stub = feedback_service_pb2_grpc.FeedbackServiceStub(self.channel)
        answer = stub.RecordEvents(feedback_service_pb2.RecordEventsRequest(events=events), timeout=CALL_SECONDS)
        assert [status.code for status in answer.statuses] == [0] * len(events)
        return str(answer.watermark)

    def user_state(self, user_id: str, min_watermark: str = "") -> feature_service_pb2.UserState:
        """What is known of a user."""
        stub = feature_service_pb2_grpc.FeatureServiceStub(self.channel)
        request = feature_service_pb2.GetUserStateRequest(user_id=user_id, min_watermark=min_watermark)
        return stub.GetUserState(request, timeout=CALL_SECONDS).user_state

    def replay(self, recommendation_id: str) -> recommendation_service_pb2.ReplayResponse:
        """A served slate again."""
        stub = recommendation_service_pb2_grpc.RecommendationServiceStub(self.channel)
        request = recommendation_service_pb2.ReplayRequest(recommendation_id=recommendation_id)
        return stub.Replay(request, timeout=CALL_SECONDS)

    def status(self) -> monitoring_service_pb2.GetStatusResponse:
        """The system on one page."""
        stub = monitoring_service_pb2_grpc.MonitoringServiceStub(self.channel)
        return stub.GetStatus(monitoring_service_pb2.GetStatusRequest(), timeout=CALL_SECONDS)

    def _noted(
        self, slate: recommendation_service_pb2.RecommendResponse
    ) -> recommendation_service_pb2.RecommendResponse:
        self.served.append(slate.recommendation_id)
        return slate


def click(event_id: str, user_id: str, item_id: str, recommendation_id: str = "") -> event_pb2.Event:
    """A click now."""
    return event_pb2.Event(
        event_id=event_id, user_id=user_id, item_id=item_id, event_type=event_pb2.EVENT_TYPE_CLICK,
        recommendation_id=recommendation_id,
    )  # fmt: skip


def item_ids(slate: Message) -> list[str]:
    """The items of a slate in their order."""
    return [item.item_id for item in slate.items]  # type: ignore[attr-defined]


def wait_until(condition, seconds: float, told=lambda: "") -> None:  # type: ignore[no-untyped-def]
    """Ask again until it is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {told()}"
        time.sleep(0.1)


def processes_of(data_dir: Path) -> dict[int, str]:
    """Processes whose environment or command line names a data folder: the command, Ray and its replicas."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal() or int(folder.name) == os.getpid():
            continue
        try:
            text = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            if str(data_dir).encode() in text and "zombie" not in (folder / "status").read_text():
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:80]
        except OSError:
            continue
    return found


def _healthy(channel: grpc.Channel) -> bool:
    try:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
    except grpc.RpcError:
        return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING
