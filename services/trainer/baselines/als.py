"""Implicit ALS: a matrix factorisation of who had what, solved for users and items in turn.

Hu, Koren, Volinsky: Collaborative Filtering for Implicit Feedback Datasets (2008); the regularisation grows with the
number of events as in Rendle et al., Revisiting the Performance of iALS (2021), section 3, and the systems are solved
by conjugate gradients as in Takács, Pilászy, Tikk: Applications of the Conjugate Gradient Method (2011). A user is
folded in from the history of the request. D factors.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from services.trainer.baselines.scoring import Floats, Scorer, TrainingSet, Variants, history_matrix
from services.trainer.evaluation import Requests

SWEEPS = 12
STEPS = 3
FOLD_IN_STEPS = 10
"""Of conjugate gradients: in training the last sweep's factors are the start, a request starts from nothing."""
_CHUNK_PAIRS = 1 << 18
_TINY = np.float32(1e-20)


@dataclass(frozen=True, slots=True)
class AlsSettings:
    """Of one factorisation.

    Attributes:
        factors: D.
        unobserved: weight of a pair that did not happen, against 1 for one that did.
        penalty: regularisation, times (events + unobserved · opposite rows).
    """

    factors: int = 128
    unobserved: float = 0.1
    penalty: float = 0.01


GRID = (
    AlsSettings(unobserved=0.01, penalty=0.01),
    AlsSettings(unobserved=0.03, penalty=0.003),
    AlsSettings(unobserved=0.1, penalty=0.01),
    AlsSettings(unobserved=0.3, penalty=0.01),
)
"""From sparse purchases (first) to dense ratings (last)."""


@dataclass(frozen=True, slots=True)
class ImplicitAls:
    """Implicit ALS for each of some settings."""

    seed: int = 0

    def fit(self, training: TrainingSet) -> Variants:
        """Factorise when a setting is asked for."""
        matrix = training.user_item_matrix()
        return {
            f"D {one.factors}, α {one.unobserved:g}, λ {one.penalty:g}": partial(_factorised, matrix, one, self.seed)
            for one in GRID
        }


@dataclass(frozen=True, slots=True)
class _FactorScorer:
    items: Floats  # (I, D)
    settings: AlsSettings

    def scores(self, requests: Requests) -> Floats:
        users = solved(history_matrix(requests), self.items, self.settings)
        scores: Floats = users @ self.items.T
        return scores


def _factorised(matrix: sparse.csr_array[Any, Any], settings: AlsSettings, seed: int) -> Scorer:
    rng = np.random.default_rng(seed)
    users, items = (rng.normal(0, 0.1 / settings.factors**0.5, (count, settings.factors)).astype(np.float32)
                    for count in matrix.shape)  # fmt: skip
    by_item = matrix.T.tocsr()
    for _ in range(SWEEPS):
        users = solved(matrix, items, settings, users)
        items = solved(by_item, users, settings, items)
    return _FactorScorer(items, settings)


def solved(
    matrix: sparse.csr_array[Any, Any], opposite: Floats, settings: AlsSettings, start: Floats | None = None
) -> Floats:
    """(N, D) factors of the rows of a binary (N, M) matrix, given the (M, D) factors of its columns.

    Solves (α VᵀV + Σ v vᵀ + λ) u = Σ v for all rows at once by conjugate gradients, from `start` or from nothing.
    """
    counts = np.diff(matrix.indptr)
    penalties = settings.penalty * (counts + settings.unobserved * len(opposite))[:, None].astype(np.float32)
    gram = settings.unobserved * (opposite.T @ opposite)
    wanted: Floats = matrix @ opposite
    factors = np.zeros_like(wanted) if start is None else start.copy()
    residual = wanted - _applied(factors, matrix, opposite, gram) - penalties * factors
    direction, size = residual.copy(), _squares(residual)
    for _ in range(FOLD_IN_STEPS if start is None else STEPS):
        image = _applied(direction, matrix, opposite, gram) + penalties * direction
        step = size / np.maximum((direction * image).sum(axis=1, keepdims=True), _TINY)
        factors += step * direction
        residual -= step * image
        previous, size = size, _squares(residual)
        direction = residual + size / np.maximum(previous, _TINY) * direction
    return factors


def _applied(factors: Floats, matrix: sparse.csr_array[Any, Any], opposite: Floats, gram: Floats) -> Floats:
    """(N, D) rows of `factors` times (α VᵀV + Σ v vᵀ), without making the matrix of any row."""
    products = np.empty(matrix.nnz, dtype=np.float32)
    owners = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    for first in range(0, matrix.nnz, _CHUNK_PAIRS):
        part = slice(first, first + _CHUNK_PAIRS)
        products[part] = np.einsum("pd,pd->p", factors[owners[part]], opposite[matrix.indices[part]])
    weighted = sparse.csr_array((products, matrix.indices, matrix.indptr), shape=matrix.shape)
    image: Floats = factors @ gram + weighted @ opposite
    return image


def _squares(rows: Floats) -> Floats:
    squares: Floats = np.square(rows).sum(axis=1, keepdims=True)
    return squares
