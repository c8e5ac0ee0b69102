"""The decayed transition counter: what came soon after what you had, the latest first.

T[i, j] += 1/d for every j that came d ≤ 20 events after i in a user's train sequence; an item's score is
Σ decay^age · T[i, j] / popularity(j)^damping over the history, age 0 being the last event. It takes seconds, and many a
neural sequence model does not beat it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy import sparse

from services.trainer.baselines.scoring import Floats, TrainingSet, Variants, history_matrix, without_zeros
from services.trainer.datasets_ragged import Ragged
from services.trainer.evaluation import Requests

MAX_DISTANCE = 20
DECAYS = (0.3, 0.6, 0.8, 0.9, 0.95)
DAMPINGS = (0.0, 0.25, 0.5, 0.75)


class Transitions:
    """The counter with its two settings."""

    def fit(self, training: TrainingSet) -> Variants:
        """Count once, weigh in every way."""
        counts = transition_counts(training.sequences(), training.items_count)
        popularity = np.maximum(training.popularity, 1).astype(np.float32)
        return {
            f"decay {decay}, damping {damping}": partial(TransitionScorer, counts, popularity, decay, damping)
            for decay in DECAYS
            for damping in DAMPINGS
        }


@dataclass(frozen=True, slots=True)
class TransitionScorer:
    """The score above.

    Attributes:
        counts: (I, I) T.
        popularity: (I,) train events of each item, at least 1.
        decay, damping: weight of age and of popularity.
    """

    counts: sparse.csr_array[Any, Any]
    popularity: Floats
    decay: float
    damping: float

    def scores(self, requests: Requests) -> Floats:
        """(B, I) -inf for what never followed anything of the history."""
        followed = (history_matrix(requests, self.decay, repeats=True) @ self.counts).toarray()
        return without_zeros(followed / self.popularity**self.damping)


def transition_counts(sequences: Ragged, items_count: int) -> sparse.csr_array[Any, Any]:
    """(I, I) float32 T of the item rows of users' sequences."""
    owners = sequences.row_of_each()
    counts = sparse.csr_array((items_count, items_count), dtype=np.float32)
    for distance in range(1, min(MAX_DISTANCE, len(owners) - 1) + 1):
        together = owners[distance:] == owners[:-distance]
        before, after = sequences.flat[:-distance][together], sequences.flat[distance:][together]
        weights = np.full(len(before), 1 / distance, dtype=np.float32)
        counts += sparse.coo_array((weights, (before, after)), shape=counts.shape).tocsr()
    return counts
