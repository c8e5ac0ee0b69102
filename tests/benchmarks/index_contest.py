"""The rules by which nearest-neighbour indexes are compared. Runs in Winnow's environment and in that of the peers.

Each index is made and asked in a process of its own, one query at a time on one thread. Of its efforts (search_k, ef,
nprobe: each doubles the one before) the first that reaches the wanted recall is taken.

N items, Q queries, D vector size, k results.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

K, RECALL = 200, 0.95
TUNING_QUERIES = 100

Search = Callable[[np.ndarray, int], np.ndarray]
"""(D,) query and effort → up to k rows."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """An index that was made.

    Attributes:
        shape: what it was made with.
        search: asks it.
        efforts: what can be tried, the least first.
        size_bytes: what a server holds in memory: index, and vectors where searching needs them beside it.
    """

    shape: str
    search: Search
    efforts: Sequence[int]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured.

    Attributes:
        shape: what the index was made with, and the effort of a query.
        made_s: building and finding the effort.
        size_mib: of the index in memory.
        peak_mib: most memory of the process that made it, the vectors and Python included.
        recall: at k, of the measured queries.
        p50_ms, p99_ms: of one query.
    """

    name: str
    shape: str
    made_s: float
    size_mib: float
    peak_mib: float
    recall: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The task: (N, D) unit item vectors, (Q, D) unit queries, and (Q, k) their true results."""

    vectors: np.ndarray
    queries: np.ndarray
    truth: np.ndarray

    def save(self, folder: Path) -> None:
        """Write it for the processes of the contestants."""
        for name in ("vectors", "queries", "truth"):
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Catalogue:
        """Read it."""
        return cls(*(np.load(folder / f"{name}.npy") for name in ("vectors", "queries", "truth")))


def contest(name: str, make: Callable[[np.ndarray, np.ndarray], Contestant], folder: Path) -> None:
    """Make an index, measure it and print the outcome as a line of JSON.

    Args:
        name: of the index.
        make: from items and sample queries.
        folder: of the catalogue.
    """
    task = Catalogue.load(folder)
    began = time.perf_counter()
    made = make(task.vectors, task.queries[:TUNING_QUERIES])
    effort = _least_effort(made, task)
    made_s = time.perf_counter() - began
    found, took = [], []
    for query in task.queries[TUNING_QUERIES:]:
        began = time.perf_counter()
        found.append(made.search(query, effort))
        took.append(time.perf_counter() - began)
    p50, p99 = np.percentile(took, (50, 99)) * 1e3
    shape = made.shape.format(effort=effort)
    recall = _recall(found, task.truth[TUNING_QUERIES:])
    print(json.dumps(asdict(Outcome(name, shape, made_s, made.size_bytes / 2**20, _peak_mib(), recall, p50, p99))))


def outcome_of(line: str) -> Outcome:
    """What a contestant printed."""
    fields: dict[str, Any] = json.loads(line)
    return Outcome(**fields)


def _least_effort(made: Contestant, task: Catalogue) -> int:
    for effort in made.efforts:
        found = [made.search(query, effort) for query in task.queries[:TUNING_QUERIES]]
        if _recall(found, task.truth[:TUNING_QUERIES]) >= RECALL:
            return effort
    return made.efforts[-1]


def _peak_mib() -> float:
    """Of this process; `getrusage` would give the peak of its parent where that was greater."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) / 1024


def _recall(found: Sequence[np.ndarray], truth: np.ndarray) -> float:
    return float(np.mean([len(np.intersect1d(*pair)) / len(pair[1]) for pair in zip(found, truth, strict=True)]))
