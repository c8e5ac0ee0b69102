"""What each service takes: memory and processor time, for the requests and limits of deploy/kubernetes.

usage: python -m tests.benchmarks.footprint [--slates 300] [--events 2000]

Runs the five services as processes on the data folder's log and bundle. Memory is the proportional share (PSS) of all
processes of a service, Ray's among them, after the calls; processor time is counted by the kernel, so a busy machine
changes it little.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from pathlib import Path

import grpc
from rich.console import Console
from rich.table import Table
from winnow.v1 import (
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
)

from services.command.places import data_dir
from tests.e2e.parts import NAMES, Parts
from tests.e2e.product import click, processes_of, wait_until

TICKS = os.sysconf("SC_CLK_TCK")
USERS, BATCH = 943, 100
KIB_A_MIB = 1024
PATIENCE_S = 30
IDLE_MS = 200
PATIENT = {
    "WINNOW_RECOMMENDATION_BUDGET_MS": "20000",
    "WINNOW_RECOMMENDATION_TARGET_MS": "0",
    "WINNOW_RECOMMENDATION_LATE_MS": "0",
    "WINNOW_CANDIDATE_GENERATION_SOURCE_TIMEOUT_MS": "5000",
}
"""The whole work for every slate, however busy the machine is."""


def main() -> None:
    """Run, call, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slates", type=int, default=300)
    parser.add_argument("--events", type=int, default=2000)
    arguments = parser.parse_args()
    os.environ.update(PATIENT)
    parts = Parts(data_dir().absolute())
    for name in NAMES:
        parts.start(name)
    try:
        wait_until(lambda: not ask(parts, 1), 300, lambda: "the product loses something all the time")
        ask(parts, 100)
        wait_until(lambda: settled(parts), 600, lambda: "a service works on without being asked")
        slates = spent(parts, lambda: ask(parts, arguments.slates), arguments.slates)
        events = spent(parts, lambda: record(parts, arguments.events), arguments.events)
        report(memory_mib(parts.data_dir), slates, events)
    finally:
        parts.close()


def ask(parts: Parts, slates: int) -> int:
    """Slates, one after the other; gives how many lost something."""
    degraded = 0
    with parts.connect() as channel:
        stub = recommendation_service_pb2_grpc.RecommendationServiceStub(channel)
        for number in range(slates):
            request = recommendation_service_pb2.RecommendRequest(user_id=str(number % USERS + 1))
            try:
                degraded += bool(stub.Recommend(request, timeout=PATIENCE_S).header.degraded)
            except grpc.RpcError:
                degraded += 1
    return degraded


def record(parts: Parts, events: int) -> None:
    """Events, a hundred a call."""
    with grpc.insecure_channel(parts.addresses["feedback"]) as channel:
        stub = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
        for first in range(0, events, BATCH):
            batch = [click(f"{os.getpid()}-{first + n}", str(n % USERS + 1), str(n % 500 + 1)) for n in range(BATCH)]
            stub.RecordEvents(feedback_service_pb2.RecordEventsRequest(events=batch), timeout=10)


def spent(parts: Parts, work, times: int) -> dict[str, float]:  # type: ignore[no-untyped-def]
    """Milliseconds of processor time that each service spends on one of `times` pieces of work."""
    before = processor_ms(parts.data_dir)
    work()
    after = processor_ms(parts.data_dir)
    return {name: (after[name] - before[name]) / times for name in NAMES}


def settled(parts: Parts) -> bool:
    """Whether replays and encoders have come to an end: within two seconds no service works for more than 0.2 s."""
    return max(spent(parts, lambda: time.sleep(2), 1).values()) < IDLE_MS


def processor_ms(folder: Path) -> dict[str, float]:
    """Processor time of each service so far."""
    total: dict[str, float] = defaultdict(float)
    for pid, command in processes_of(folder).items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        total[_service(command)] += (int(fields[11]) + int(fields[12])) * 1e3 / TICKS
    return total


def memory_mib(folder: Path) -> dict[str, float]:
    """Proportional memory of each service now."""
    total: dict[str, float] = defaultdict(float)
    for pid, command in processes_of(folder).items():
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        total[_service(command)] += kib / KIB_A_MIB
    return total


def report(memory: dict[str, float], slates: dict[str, float], events: dict[str, float]) -> None:
    """One row a service."""
    table = Table("service", "MiB", "core-ms a slate", "core-ms an event")
    for name in NAMES:
        table.add_row(name, f"{memory[name]:.0f}", f"{slates[name]:.2f}", f"{events[name]:.3f}")
    Console().print(table)


def _service(command: str) -> str:
    """Whose process it is; whatever is not a service's own is Ray's, and so the ranker's."""
    return next((name for name in NAMES if f"services.{name}" in command), "ranking")


if __name__ == "__main__":
    main()
