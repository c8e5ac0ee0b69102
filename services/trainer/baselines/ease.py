"""EASE: the closed-form linear autoencoder over items, plain or with an input that fades with age.

Steck: Embarrassingly Shallow Autoencoders for Sparse Data (2019), equation 8. It inverts a
dense (I, I) matrix, which only a small catalogue allows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from scipy.linalg import lapack

from services.trainer.baselines.scoring import Floats, Scorer, TrainingSet, Variants, history_matrix, without_zeros
from services.trainer.datasets import DatasetError
from services.trainer.evaluation import Requests

MAX_ITEMS = 20_000
"""The inverse takes 4 · I² bytes twice, 3 GiB at this size, and minutes."""
DECAYS = (0.3, 0.6, 0.8, 0.9, 0.95)
PENALTIES = (20.0, 100.0, 400.0)
"""From sparse purchases (first) to dense ratings (last)."""


@dataclass(frozen=True, slots=True)
class Ease:
    """EASE for each of some penalties and decays.

    Attributes:
        decays: weights decay^age of the history; (1.0,) is the plain form.
        penalties: λ.
    """

    decays: Sequence[float] = (1.0,)
    penalties: Sequence[float] = PENALTIES

    def fit(self, training: TrainingSet) -> Variants:
        """Invert when a penalty is first asked for.

        Raises:
            DatasetError: the catalogue is too large for a dense inverse.
        """
        if training.items_count > MAX_ITEMS:
            raise DatasetError(f"EASE inverts a dense matrix of items and takes at most {MAX_ITEMS:,} of them, "
                               f"here are {training.items_count:,}; use item-knn or transitions")  # fmt: skip
        weights = lru_cache(maxsize=1)(partial(ease_weights, training))  # one dense matrix at a time
        return {
            f"λ {penalty:g}, decay {decay}": partial(_scorer, weights, penalty, decay)
            for penalty in self.penalties
            for decay in self.decays
        }


@dataclass(frozen=True, slots=True)
class _EaseScorer:
    weights: Floats  # (I, I)
    decay: float

    def scores(self, requests: Requests) -> Floats:
        return without_zeros(history_matrix(requests, self.decay) @ self.weights)


def _scorer(weights: Callable[[float], Floats], penalty: float, decay: float) -> Scorer:
    return _EaseScorer(weights(penalty), decay)


def ease_weights(training: TrainingSet, penalty: float) -> Floats:
    """(I, I) B = -P / diag(P) with a zero diagonal, P the inverse of XᵀX + λ."""
    matrix = training.user_item_matrix()
    gram = (matrix.T @ matrix).toarray(order="F").astype(np.float32, copy=False)
    gram[np.diag_indices_from(gram)] += penalty
    factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, singular = lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed or singular:
        raise DatasetError(f"EASE's matrix is not positive definite at λ = {penalty:g}; raise the penalty")
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights: Floats = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0)
    return weights
