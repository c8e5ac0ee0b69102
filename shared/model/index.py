"""Approximate nearest neighbours over item vectors: Annoy, angular, unit vectors; and the exact search that judges it.

Annoy's traps (measured): its dot metric recalls far worse than angular on unit vectors; without `search_k` it uses
n_trees · k, which is too little; a damaged file crashes the process (bundles are verified before). One file holds the
trees, another the vectors: Annoy chooses the rows, the scores are then computed exactly.

B queries, N items, D vector size, k results.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from annoy import AnnoyIndex

from shared.model.bundle import Bundle, write_arrays

INDEX_FILE = "index.annoy"
VECTORS_FILE = "vectors.safetensors"
NONE = -1
_TREES = (16, 32, 64, 128)

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Found:
    """Results of a search, best first.

    Attributes:
        rows: (B, k) int64; `NONE` behind the last result.
        scores: (B, k) float32 cosine; -inf behind the last result.
    """

    rows: Rows
    scores: Floats


@dataclass(frozen=True, slots=True)
class IndexTuning:
    """What tuning chose and measured.

    Attributes:
        trees, search_k: the cheapest pair that reached the target, else the best tried.
        recall: measured recall at k against exact search.
        k: results a query.
        target: the recall that was asked for.
    """

    trees: int
    search_k: int
    recall: float
    k: int
    target: float


def exact_search(vectors: Floats, queries: Floats, k: int) -> Found:
    """The true k best rows by dot product; equal scores by row.

    Args:
        vectors: (N, D).
        queries: (B, D).
        k: results wanted; fewer come when N is smaller.
    """
    scores = queries @ vectors.T  # (B, N)
    kept = min(k, len(vectors))
    if kept < len(vectors):
        rows = np.argpartition(-scores, kept - 1, axis=1)[:, :kept].astype(np.int64)
    else:
        rows = np.broadcast_to(np.arange(kept), (len(queries), kept)).astype(np.int64)
    return best_of(rows, np.take_along_axis(scores, rows, axis=1).astype(np.float32), k)


def best_of(rows: Rows, scores: Floats, k: int) -> Found:
    """Order candidates of each query by (score falling, row), cut or pad to k; rows of `NONE` go last.

    Args:
        rows: (B, M) with `NONE` where there is nothing.
        scores: (B, M).
        k: width of the result.
    """
    scores = np.where(rows == NONE, -np.inf, scores).astype(np.float32)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]  # (B, min(M, k))
    queries = np.arange(len(rows))[:, None]
    rows, scores = rows[queries, order], scores[queries, order]
    missing = k - rows.shape[1]
    if missing > 0:
        rows = np.pad(rows, ((0, 0), (0, missing)), constant_values=NONE)
        scores = np.pad(scores, ((0, 0), (0, missing)), constant_values=-np.inf)
    return Found(rows=rows, scores=scores)


class AnnoyItemIndex:
    """Annoy's trees over the rows of a matrix. Reads are thread-safe.

    Args:
        trees: the built or loaded trees.
        vectors: (N, D) float32 unit vectors, row-aligned with the trees.
    """

    def __init__(self, trees: AnnoyIndex, vectors: Floats) -> None:
        self._trees = trees
        self.vectors = vectors

    def __len__(self) -> int:
        return len(self.vectors)

    @classmethod
    def build(cls, vectors: Floats, n_trees: int, seed: int) -> AnnoyItemIndex:
        """Build in memory; the same vectors and seed give the same trees."""
        trees = AnnoyIndex(vectors.shape[1], "angular")
        trees.set_seed(seed % (1 << 31))
        for row, vector in enumerate(vectors):
            trees.add_item(row, vector)
        trees.build(n_trees, n_jobs=1)  # several jobs would make the trees differ from run to run
        return cls(trees, vectors)

    @classmethod
    def load(cls, bundle: Bundle) -> AnnoyItemIndex:
        """Map the trees of a bundle into memory and read its vectors."""
        vectors = bundle.arrays(VECTORS_FILE)["vectors"]
        trees = AnnoyIndex(vectors.shape[1], "angular")
        trees.load(str(bundle.file(INDEX_FILE)))
        return cls(trees, vectors)

    def save(self, folder: Path) -> None:
        """Write trees and vectors into a bundle's folder."""
        self._trees.save(str(folder / INDEX_FILE))
        write_arrays(folder / VECTORS_FILE, {"vectors": self.vectors})

    def query(self, queries: Floats, k: int, search_k: int) -> Found:
        """Approximately the k best rows of each query, with exact scores.

        Args:
            queries: (B, D) unit vectors.
            k: results wanted.
            search_k: how many rows are looked at; more = better and slower.
        """
        wanted = min(k, len(self))
        rows = np.full((len(queries), wanted), NONE, np.int64)
        for number, query in enumerate(queries):
            found = self._trees.get_nns_by_vector(query, wanted, search_k)
            rows[number, : len(found)] = found
        scores = np.einsum("bkd,bd->bk", self.vectors[rows], queries)
        return best_of(rows, scores.astype(np.float32), k)


def recall(found: Found, truth: Found) -> float:
    """Mean share of the true results that were found."""
    hits = [len(np.intersect1d(got[got != NONE], real[real != NONE])) / max(1, int((real != NONE).sum()))
            for got, real in zip(found.rows, truth.rows, strict=True)]  # fmt: skip
    return float(np.mean(hits)) if hits else 1.0


def tune(vectors: Floats, queries: Floats, k: int, target: float, seed: int) -> tuple[AnnoyItemIndex, IndexTuning]:
    """Find few trees and a small `search_k` that reach the recall on sample queries.

    The fewest trees win among those that need a similar effort: they cost memory and build time.

    Args:
        vectors: (N, D) unit item vectors.
        queries: (B, D) user vectors like those that will be asked.
        k: results a query.
        target: recall at k that is asked for.
        seed: of the trees.
    """
    k = min(k, len(vectors))
    truth = exact_search(vectors, queries, k)
    best: tuple[AnnoyItemIndex, IndexTuning] | None = None
    for n_trees in _TREES:
        index = AnnoyItemIndex.build(vectors, n_trees, seed)
        for search_k in _efforts(k, len(vectors)):
            measured = recall(index.query(queries, k, search_k), truth)
            tuning = IndexTuning(n_trees, search_k, measured, k, target)
            best = _better(best, (index, tuning))
            if measured >= target:
                break
        if best is not None and best[1].recall >= target and best[1].trees < n_trees:
            break  # more trees did not make it cheaper
    if best is None:
        raise ValueError("an index needs at least one item and one query")
    return best


def _better(
    old: tuple[AnnoyItemIndex, IndexTuning] | None, new: tuple[AnnoyItemIndex, IndexTuning]
) -> tuple[AnnoyItemIndex, IndexTuning]:
    if old is None:
        return new
    a, b = old[1], new[1]
    if (a.recall >= a.target) != (b.recall >= b.target):
        return new if b.recall >= b.target else old
    if a.recall < a.target:
        return new if b.recall > a.recall else old
    return new if b.search_k < a.search_k else old


def _efforts(k: int, items: int) -> Iterator[int]:
    effort = 2 * k
    while effort < 4 * items:
        yield effort
        effort *= 2
    yield max(effort, 1)
