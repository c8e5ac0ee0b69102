"""Latency of `Recommend`: sequential calls on one channel, against `winnow serve` on the data folder's bundle.

usage: python -m tests.benchmarks.smoke [--calls 200] [--warm-up 100]

Prints wall time of the calls, mean wall time of each stage, and the processor time that a call costs in each process.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from services.command.places import data_dir
from tests.e2e.product import Product, Running, processes_of

TICKS = os.sysconf("SC_CLK_TCK")
USERS = 943
FRONT, REPLICA = "winnow serve", "ranker replica"


def main() -> None:
    """Serve, call, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--warm-up", type=int, default=100)
    arguments = parser.parse_args()
    with Product(data_dir().absolute()).serving() as running:
        call(running, arguments.warm_up)
        before = processor_ms(running.product.data_dir)
        walls, stages, degraded = call(running, arguments.calls)
        after = processor_ms(running.product.data_dir)
    report(walls, stages, degraded, {name: (after[name] - before.get(name, 0)) / len(walls) for name in after})


def call(running: Running, calls: int) -> tuple[list[float], dict[str, list[float]], int]:
    """Wall times, stage times and degraded answers of sequential calls for different users."""
    walls, stages, degraded = [], defaultdict(list), 0
    for number in range(calls):
        begin = time.perf_counter()
        slate = running.recommend(str(number % USERS + 1))
        walls.append((time.perf_counter() - begin) * 1e3)
        degraded += bool(slate.header.degraded)
        for timing in slate.header.stage_timings:
            stages[timing.stage].append(timing.duration.ToNanoseconds() / 1e6)
    return walls, stages, degraded


def processor_ms(folder: Path) -> dict[str, float]:
    """Processor time of every process of the product so far."""
    spent: dict[str, float] = defaultdict(float)
    for pid, command in processes_of(folder).items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        spent[role_of(command)] += (int(fields[11]) + int(fields[12])) * 1e3 / TICKS
    return spent


def report(walls: list[float], stages: dict[str, list[float]], degraded: int, spent: dict[str, float]) -> None:
    """Print three tables."""
    console = Console()
    p50, p90, p99 = np.percentile(walls, (50, 90, 99))
    console.print(f"{len(walls)} calls: p50 {p50:.1f} ms, p90 {p90:.1f} ms, p99 {p99:.1f} ms; {degraded} degraded")
    table = Table("stage", "mean wall ms", box=None)
    for stage, times in stages.items():
        table.add_row(stage, f"{np.mean(times):.2f}")
    console.print(table)
    costs = Table("process", "core ms a call", box=None)
    for name, cost in sorted(spent.items(), key=lambda pair: -pair[1]):
        costs.add_row(name, f"{cost:.2f}")
    console.print(costs)


def role_of(command: str) -> str:
    """What a process of the product is, by its command."""
    if "SERVE_REPLICA" in command or "ServeReplica" in command:
        return REPLICA
    return FRONT if "services serve" in command else "rest of Ray"


if __name__ == "__main__":
    main()
