"""Retrieval's index against exact search, hnswlib and faiss: time to make, memory, recall@200 and latency.

usage: python -m tests.benchmarks.index_bench [--items 10000 --items 100000 ...]

Catalogues of made-up unit vectors: 64 topics, in them clusters of a hundred items. All on the same vectors, one after
the other, each in a process of its own. All look for the least effort that reaches recall .95 and are then asked one
query at a time on one thread.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from shared.model.index import exact_search
from tests.benchmarks.index_contest import RECALL, TUNING_QUERIES, Catalogue, K, Outcome, outcome_of
from tests.benchmarks.rivals import ROOT, peers_python

SIZES = (10_000, 100_000, 1_000_000)
WIDTH, TOPICS, ITEMS_A_CLUSTER = 64, 64, 100
CLUSTER_SPREAD, ITEM_SPREAD = 1.0, 0.7
"""Length of the noise around a topic's and a cluster's unit vector. So 200 results come from several clusters:
where one cluster held them all, every index would find them at once."""
CHUNK = 50
LARGE = 500_000
"""From here on the work is reduced so that all of it ends within eight minutes."""
PEERS = ("hnswlib", "faiss-hnsw", "faiss-ivf")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    """Compare, size by size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, action="append", help="size of a catalogue; may be given several times")
    sizes = parser.parse_args().items or SIZES
    console = Console(width=160)
    for items in sizes:
        with tempfile.TemporaryDirectory() as folder:
            made_up(items, np.random.default_rng(0)).save(Path(folder))
            outcomes = [_run(command, Path(folder)) for command in _contestants(items, folder)]
        console.print(_table(items, outcomes))


def made_up(items: int, rng: np.random.Generator) -> Catalogue:
    """A catalogue of this size, with fewer queries for large ones."""
    topics = _unit(rng.standard_normal((TOPICS, WIDTH)))
    clusters = _near(topics, max(1, items // ITEMS_A_CLUSTER), CLUSTER_SPREAD, rng)
    queries = 300 if items >= LARGE else 1_000
    vectors, asked = (_near(clusters, count, ITEM_SPREAD, rng) for count in (items, TUNING_QUERIES + queries))
    parts = [exact_search(vectors, asked[start : start + CHUNK], K).rows for start in range(0, len(asked), CHUNK)]
    return Catalogue(vectors, asked, np.concatenate(parts))


def _contestants(items: int, folder: str) -> list[list[str]]:
    """Commands, the cheapest first. Of large catalogues Annoy builds once instead of up to four times to choose."""
    trees, ef_construction = ("16", "100") if items >= LARGE else ("0", "200")
    own = [[sys.executable, "-m", "tests.benchmarks.own_indexes", name, folder, trees] for name in ("exact", "annoy")]
    peers = peers_python()
    return own + [[peers, "-m", "tests.benchmarks.peers.indexes", name, folder, ef_construction] for name in PEERS]


def _run(command: list[str], folder: Path) -> Outcome:
    environ = os.environ | ONE_THREAD | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    done = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=True)
    return outcome_of(done.stdout.splitlines()[-1])


def _table(items: int, outcomes: list[Outcome]) -> Table:
    reduced = "; one build each, ef_construction 100, 300 queries" if items >= LARGE else ""
    title = f"{items:,} items, recall@{K} of {RECALL} wanted, load {os.getloadavg()[0]:.1f}{reduced}"
    table = Table(
        "index", "made with", "made in s", "index MiB", "peak MiB", "recall", "p50 ms", "p99 ms",
        title=title, box=box.MARKDOWN,
    )  # fmt: skip
    for each in outcomes:
        numbers = (each.size_mib, each.peak_mib)
        table.add_row(
            each.name, each.shape, f"{each.made_s:,.1f}", *(f"{number:,.0f}" for number in numbers),
            f"{each.recall:.3f}", f"{each.p50_ms:.2f}", f"{each.p99_ms:.2f}",
        )  # fmt: skip
    return table


def _near(centres: np.ndarray, count: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    picked = centres[rng.integers(0, len(centres), count)]
    noise = rng.standard_normal((count, WIDTH)) * (spread / WIDTH**0.5)
    return _unit(picked + noise)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    main()
