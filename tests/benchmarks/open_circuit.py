"""Latency of `Recommend` while a service is frozen and its circuit open, beside that of the healthy product.

usage: python -m tests.benchmarks.open_circuit [--calls 200] [--rounds 3]

Five processes on the data folder's bundle, sequential calls on one channel. Healthy and frozen blocks alternate within
one run, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import argparse
import signal
import time

import grpc
import numpy as np
from rich.console import Console
from rich.table import Table
from winnow.v1 import recommendation_service_pb2 as pb
from winnow.v1.recommendation_service_pb2_grpc import RecommendationServiceStub

from services.command.places import data_dir
from tests.e2e.parts import Parts
from tests.e2e.product import START_SECONDS, wait_until

STAGES = {"feature": "hydrate", "candidate_generation": "retrieve", "ranking": "rank"}
USERS, DEADLINE_S, WARM_UP = 943, 1.5, 200


def main() -> None:
    """Serve, freeze one after the other, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    table = Table("frozen", "healthy p50 ms", "open p50 ms", "difference", "open p99 ms", "calls", box=None)
    with Parts.running(data_dir().absolute()) as parts, grpc.insecure_channel(parts.addresses["recommendation"]) as way:
        front = RecommendationServiceStub(way)
        block(front, WARM_UP)
        for name in STAGES:
            healthy, frozen = compare(parts, front, name, arguments.calls, arguments.rounds)
            usual, open_ = np.percentile(healthy, 50), np.percentile(frozen, 50)
            row = (usual, open_, open_ - usual, np.percentile(frozen, 99))
            table.add_row(name, *(f"{each:.1f}" for each in row), str(len(frozen)))
    Console().print(table)


def compare(
    parts: Parts, front: RecommendationServiceStub, name: str, calls: int, rounds: int
) -> tuple[list[float], list[float]]:
    """Wall times of healthy calls and of calls while a service is frozen."""
    healthy: list[float] = []
    frozen: list[float] = []
    for _ in range(rounds):
        parts.wait_healthy()
        healthy += block(front, calls)
        parts.strike(name, signal.SIGSTOP)
        try:
            wait_until(lambda: "circuit-open" in reasons(front, STAGES[name]), START_SECONDS)
            frozen += block(front, calls)
        finally:
            parts.bring_back(name, signal.SIGSTOP)
    return healthy, frozen


def block(front: RecommendationServiceStub, calls: int) -> list[float]:
    """Wall times of sequential calls for different users."""
    walls = []
    for number in range(calls):
        begin = time.perf_counter()
        front.Recommend(pb.RecommendRequest(user_id=str(number % USERS + 1)), timeout=DEADLINE_S)
        walls.append((time.perf_counter() - begin) * 1e3)
    return walls


def reasons(front: RecommendationServiceStub, stage: str) -> set[str]:
    """Why a slate lacks a stage now."""
    answer = front.Recommend(pb.RecommendRequest(user_id="1"), timeout=DEADLINE_S)
    return {lost.reason for lost in answer.header.degraded if lost.stage == stage}


if __name__ == "__main__":
    main()
