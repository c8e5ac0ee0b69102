"""The product as five processes, each of which a test may kill, freeze or slow down while others call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from winnow.v1 import (
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
)

from tests.e2e.product import START_SECONDS, STOP_SECONDS, free_port, processes_of, wait_until
from tests.slow_line import SlowLine

NAMES = ("feedback", "feature", "candidate_generation", "ranking", "recommendation")
DEADLINE_S = 1.5
"""Of every call; the front keeps MARGIN_MS of it, for machines that are busy with other tests."""
MARGIN_MS = 250
LATEST = 30
TOKEN = "a-token-between-tests"


@dataclass
class Parts:
    """Five processes on one data folder.

    Attributes:
        data_dir: with a log and a bundle in it.
        addresses: by name.
        processes: by name.
        lines: by which the front calls the others.
    """

    data_dir: Path
    addresses: dict[str, str] = field(default_factory=lambda: {name: f"127.0.0.1:{free_port()}" for name in NAMES})
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    lines: dict[str, SlowLine] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def running(cls, data_dir: Path) -> Iterator[Parts]:
        """All of them, at work until the block ends."""
        parts = cls(data_dir)
        with ExitStack() as stack:
            asked = [name for name in NAMES if name != "recommendation"]
            parts.lines = {name: stack.enter_context(SlowLine.to(parts.addresses[name])) for name in asked}
            stack.callback(parts.close)
            for name in NAMES:
                parts.start(name)
            parts.wait_healthy()
            yield parts

    def start(self, name: str) -> None:
        """Start one of them."""
        command = [sys.executable, "-m", f"services.{name}"]
        with (self.data_dir / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env={**os.environ, **self._variables(name)}, stdout=log, stderr=log
            )

    def pids(self, name: str) -> list[int]:
        """What works for a service: its process; of the ranker its replicas."""
        if name != "ranking":
            return [self.processes[name].pid]
        return [pid for pid, command in processes_of(self.data_dir).items() if "ServeReplica" in command]

    def strike(self, name: str, number: signal.Signals) -> None:
        """Send a signal to what works for a service."""
        for pid in self.pids(name):
            os.kill(pid, number)

    def bring_back(self, name: str, number: signal.Signals) -> None:
        """Undo what a signal did; Ray starts its replicas by itself."""
        if number is signal.SIGSTOP:
            self.strike(name, signal.SIGCONT)
        elif name != "ranking":
            self.processes[name].wait(STOP_SECONDS)
            self.start(name)

    def connect(self) -> grpc.Channel:
        """A channel to the front."""
        return grpc.insecure_channel(self.addresses["recommendation"])

    def recommend(self, user_id: str, **options: object) -> recommendation_service_pb2.RecommendResponse:
        """A slate within the deadline."""
        with self.connect() as channel:
            stub = recommendation_service_pb2_grpc.RecommendationServiceStub(channel)
            request = recommendation_service_pb2.RecommendRequest(user_id=user_id, **options)  # type: ignore[arg-type]
            return stub.Recommend(request, timeout=DEADLINE_S)

    def replays(self, recommendation_id: str) -> bool:
        """Whether a served slate comes out of its recorded inputs again."""
        with self.connect() as channel:
            stub = recommendation_service_pb2_grpc.RecommendationServiceStub(channel)
            request = recommendation_service_pb2.ReplayRequest(recommendation_id=recommendation_id)
            return stub.Replay(request, timeout=DEADLINE_S).identical

    def has_logged(self, slate: recommendation_service_pb2.RecommendResponse) -> bool:
        """Whether the log itself has a slate."""
        with grpc.insecure_channel(self.addresses["feedback"]) as channel:
            stub = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
            request = feedback_service_pb2.GetSlateRequest(recommendation_id=slate.recommendation_id)
            try:
                logged = stub.GetSlate(request, timeout=DEADLINE_S).slate
            except grpc.RpcError:
                return False
        return bool(logged.recommendation_id)

    def healthy(self) -> bool:
        """Whether a slate comes that lost nothing."""
        try:
            return not self.recommend("1").header.degraded
        except grpc.RpcError:
            return False

    def wait_healthy(self) -> None:
        """Until nothing is lost any more."""
        wait_until(self.healthy, START_SECONDS, self._log)

    def close(self) -> None:
        """End all of them."""
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            process.wait(STOP_SECONDS)

    def _variables(self, name: str) -> dict[str, str]:
        own = f"WINNOW_{name.upper()}"
        to = {other: f"WINNOW_{name.upper()}_{other.upper()}_ADDRESS" for other in NAMES if other != name}
        asked = {
            "feature": ("feedback",),
            "candidate_generation": ("feature",),
            "recommendation": ("feedback", "feature", "candidate_generation", "ranking"),
        }.get(name, ())
        special = {
            "ranking": {"WINNOW_RANKING_TOKEN": TOKEN},
            "recommendation": {
                "WINNOW_RECOMMENDATION_RANKING_TOKEN": TOKEN,
                "WINNOW_RECOMMENDATION_ANSWER_MARGIN_MS": str(MARGIN_MS),
            },
        }.get(name, {})
        lines = {other: line.address for other, line in self.lines.items()} if name == "recommendation" else {}
        addresses = {to[other]: lines.get(other, self.addresses[other]) for other in asked}
        return {
            "WINNOW_DATA_DIR": str(self.data_dir),
            f"{own}_ADDRESS": self.addresses[name],
            f"{own}_METRICS_PORT": "0",
            **addresses,
            **special,
        }

    def _log(self) -> str:
        return "\n".join(f"{name}: {(self.data_dir / f'{name}.log').read_text()[-600:]}" for name in self.processes)


@dataclass
class Load:
    """What callers got while a test went on.

    Attributes:
        answers: that came within their deadline, with full pages.
        failures: everything else, in words.
        deadline_s: of every call.
        lost: how often each stage was listed as degraded.
        latest: ids of the latest slates that had lost something.
    """

    answers: int = 0
    failures: list[str] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    latest: deque[str] = field(default_factory=lambda: deque(maxlen=LATEST))
    deadline_s: float = DEADLINE_S
    _over: threading.Event = field(default_factory=threading.Event)

    @classmethod
    @contextmanager
    def on(
        cls, connect: Callable[[], grpc.Channel], callers: int = 2, deadline_s: float = DEADLINE_S
    ) -> Iterator[Load]:
        """Callers that ask one after the other until the block ends, each on a channel of its own."""
        load = cls(deadline_s=deadline_s)
        threads = [threading.Thread(target=load._call, args=(connect, number)) for number in range(callers)]
        for thread in threads:
            thread.start()
        try:
            yield load
        finally:
            load._over.set()
            for thread in threads:
                thread.join()

    def _call(self, connect: Callable[[], grpc.Channel], caller: int) -> None:
        number = caller
        with connect() as channel:
            stub = recommendation_service_pb2_grpc.RecommendationServiceStub(channel)
            while not self._over.is_set():
                number += 7
                request = recommendation_service_pb2.RecommendRequest(user_id=str(number % 943 + 1))
                try:
                    answer = stub.Recommend(request, timeout=self.deadline_s)
                except grpc.RpcError as error:
                    self.failures.append(str(error))
                    continue
                self.answers += 1
                self.lost.update({lost.stage for lost in answer.header.degraded})
                if answer.header.degraded:
                    self.latest.append(answer.recommendation_id)
                if len(answer.items) != 10:
                    self.failures.append(f"{len(answer.items)} items for user {request.user_id}")
