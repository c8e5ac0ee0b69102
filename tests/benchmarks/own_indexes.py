"""Winnow's two ways to search, as contestants: `python -m tests.benchmarks.own_indexes annoy|exact FOLDER TREES`.

Annoy is built and tuned by `shared.model.index.tune`, as the trainer does it, unless TREES says with how many trees.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from shared.model.index import INDEX_FILE, AnnoyItemIndex, exact_search, tune
from tests.benchmarks.index_contest import RECALL, Contestant, K, contest

SEED = 0


def annoy(vectors: np.ndarray, queries: np.ndarray, trees: int) -> Contestant:
    """Annoy as the trainer publishes it; `trees` 0: the trainer's own choice."""
    if trees:
        index = AnnoyItemIndex.build(vectors, trees, SEED)
        efforts = [2 * K << step for step in range(20) if 2 * K << step < 4 * len(vectors)]
    else:
        index, tuned = tune(vectors, queries, K, RECALL, SEED)
        trees, efforts = tuned.trees, [tuned.search_k]
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder))
        size = (Path(folder) / INDEX_FILE).stat().st_size + vectors.nbytes
    return Contestant(
        shape=f"{trees} trees, search_k {{effort}}",
        search=lambda query, effort: index.query(query[None], K, effort).rows[0],
        efforts=efforts,
        size_bytes=size,
    )


def exact(vectors: np.ndarray) -> Contestant:
    """Every item is looked at."""
    return Contestant("NumPy", lambda query, _: exact_search(vectors, query[None], K).rows[0], [0], vectors.nbytes)


def main() -> None:
    """Take part."""
    name, folder, trees = sys.argv[1:]
    if name == "annoy":
        contest("Annoy (Winnow)", lambda vectors, queries: annoy(vectors, queries, int(trees)), Path(folder))
    else:
        contest("exact (Winnow)", lambda vectors, _: exact(vectors), Path(folder))


if __name__ == "__main__":
    main()
