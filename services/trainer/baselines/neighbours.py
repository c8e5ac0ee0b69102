"""Item-kNN: items that the same people had, by cosine.

Deshpande, Karypis: Item-Based Top-N Recommendation Algorithms (2004).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from services.trainer.baselines.scoring import Floats, TrainingSet, Variants, history_matrix, without_zeros
from services.trainer.evaluation import Requests

NEIGHBOURS = (20, 50, 100, 200)


class ItemNeighbours:
    """Cosine over users, the nearest items only."""

    def fit(self, training: TrainingSet) -> Variants:
        """One setting for each number of neighbours."""
        similar = cosine_similarities(training.user_item_matrix())
        return {f"{count} neighbours": partial(_nearest, similar, count) for count in NEIGHBOURS}


@dataclass(frozen=True, slots=True)
class _NeighbourScorer:
    similar: sparse.csr_array[Any, Any]  # (I, I) row i: how near the neighbours of i are

    def scores(self, requests: Requests) -> Floats:
        return without_zeros((history_matrix(requests) @ self.similar).toarray())


def cosine_similarities(user_item: sparse.csr_array[Any, Any]) -> sparse.csr_array[Any, Any]:
    """(I, I) cosines of the columns of a binary (U, I) matrix, without the diagonal."""
    scale = 1 / np.sqrt(np.maximum(user_item.sum(axis=0), 1))
    scaled = (user_item @ sparse.diags_array(scale.astype(np.float32))).tocsr()
    similar = (scaled.T @ scaled).tocsr()
    similar.setdiag(0)
    similar.eliminate_zeros()
    return similar


def _nearest(similar: sparse.csr_array[Any, Any], count: int) -> _NeighbourScorer:
    """Keep the `count` largest entries of each row (ties by column)."""
    lengths = np.diff(similar.indptr)
    owners = np.repeat(np.arange(similar.shape[0]), lengths)
    order = np.lexsort((similar.indices, -similar.data, owners))
    place: npt.NDArray[np.int64] = np.arange(len(order)) - np.repeat(similar.indptr[:-1].astype(np.int64), lengths)
    kept = order[place < count]
    matrix = sparse.coo_array((similar.data[kept], (owners[kept], similar.indices[kept])), shape=similar.shape)
    return _NeighbourScorer(matrix.tocsr())
