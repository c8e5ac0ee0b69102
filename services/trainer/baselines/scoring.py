"""What the baselines share: the events they learn from, histories as a sparse matrix, scores to lists.

B users of a batch, U users, I items, H history events of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import sparse

from services.trainer.datasets import Interactions, UserSequences
from services.trainer.datasets_ragged import Ragged
from services.trainer.evaluation import Requests
from services.trainer.evaluation_ranking import blocked_items, top_items
from services.trainer.splits import Split
from shared.domain.events import CONSUMING

MAX_EVENTS_PER_USER = 1000
"""Older events of a user are left out of co-occurrences, whose number grows with the square of a history."""

Floats = npt.NDArray[np.float32]
_CONSUMING_CODES = np.array(sorted(CONSUMING), dtype=np.int8)


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What a baseline may learn from.

    Attributes:
        events: consuming events in time order (an impression is no sign of interest).
        items_count: I.
    """

    events: Interactions
    items_count: int

    @classmethod
    def of(cls, split: Split) -> TrainingSet:
        """The train part of a split."""
        consuming = np.isin(split.train.event_types, _CONSUMING_CODES)
        return cls(split.train.take(consuming), len(split.catalogue))

    @property
    def popularity(self) -> npt.NDArray[np.int64]:
        """(I,) events of each item."""
        return np.bincount(self.events.item_rows, minlength=self.items_count)

    def sequences(self) -> Ragged:
        """Per user the item rows in time order, the last `MAX_EVENTS_PER_USER` of them."""
        by_user: UserSequences = self.events.by_user()
        kept = np.minimum(by_user.lengths, MAX_EVENTS_PER_USER)
        return Ragged.from_slices(self.events.item_rows[by_user.order], by_user.offsets[1:] - kept, kept)

    def user_item_matrix(self) -> sparse.csr_array[Any, Any]:
        """(U, I) float32: 1 where a user had an item, however often."""
        sequences = self.sequences()
        pairs = (sequences.row_of_each(), sequences.flat)
        ones = np.ones(len(sequences.flat), np.float32)
        matrix = sparse.coo_array((ones, pairs), shape=(len(sequences), self.items_count)).tocsr()
        matrix.data[:] = 1
        return matrix


class Scorer(Protocol):
    """Gives every item a score for every user of a batch."""

    def scores(self, requests: Requests) -> Floats:
        """(B, I) the higher the better; -inf where there is no evidence at all."""


Variants = Mapping[str, Callable[[], Scorer]]
"""Settings to choose from, by label; a scorer is made when it is asked for."""


class Baseline(Protocol):
    """Learns from a training set; gives one scorer for each setting that is worth trying."""

    def fit(self, training: TrainingSet) -> Variants:
        """Fit what the settings share."""


@dataclass(frozen=True, slots=True)
class ScoringRecommender:
    """A scorer as a recommender: seen items out, ties by row."""

    name: str
    scorer: Scorer

    def recommend(self, requests: Requests, k: int) -> npt.NDArray[np.int32]:
        """(B, k) item rows, -1 where the scorer has no evidence."""
        return top_items(self.scorer.scores(requests), blocked_items(requests.seen, requests.catalogue), k)


def history_matrix(requests: Requests, decay: float = 1.0, *, repeats: bool = False) -> sparse.csr_array[Any, Any]:
    """(B, I) float32 weights decay^age of the history, age 0 being the last event; an event that consumes nothing is 0.

    An item that came several times has the weight of its last event, or with `repeats` the sum of all.
    """
    history = requests.histories
    weights = np.power(np.float32(decay), history.place_from_end(), dtype=np.float32)
    weights[~np.isin(requests.event_types, _CONSUMING_CODES)] = 0
    if not repeats:
        weights[~_last_of_each(history)] = 0
    # By coordinates: a matrix made of these very arrays would sort the histories in place.
    pairs = (history.row_of_each(), history.flat)
    matrix = sparse.coo_array((weights, pairs), shape=(len(requests), len(requests.catalogue))).tocsr()
    matrix.eliminate_zeros()
    return matrix


def without_zeros(scores: npt.NDArray[Any]) -> Floats:
    """Scores in which exactly 0 means that nothing is known: such items make room for popular ones."""
    return np.where(scores == 0, np.float32(-np.inf), scores.astype(np.float32, copy=False))


def _last_of_each(history: Ragged) -> npt.NDArray[np.bool_]:
    """(H,) whether an entry is the last of its item in its row."""
    items = int(history.flat.max(initial=0)) + 1
    pairs = history.row_of_each() * items + history.flat
    _, from_end = np.unique(pairs[::-1], return_index=True)
    last = np.zeros(len(pairs), dtype=np.bool_)
    last[len(pairs) - 1 - from_end] = True
    return last
