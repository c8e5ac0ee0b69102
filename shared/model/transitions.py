"""Which item follows which: a decayed transition counter, the strongest simple model of sequences.

For items i, j of one user with j at distance d ≤ 20 after i:  T[i, j] += 1 / d.
The score of j for a history h_0 (latest), h_1, …:  Σ_a decay^a · T[h_a, j] / popularity(j)^damping.
It takes seconds to fit, feeds the neighbours source and is a feature of the ranker. Each item keeps only its M
strongest followers. Source: the project's own measurements (it beats item-kNN, EASE and iALS on sequences).

B users, N items, M followers an item, k results.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.domain.history import History
from shared.domain.vocabulary import Vocabulary
from shared.model.bundle import Bundle, write_arrays
from shared.model.index import NONE, Found, best_of

TRANSITIONS_FILE = "transitions.safetensors"
DISTANCE = 20
_DENSE_ITEMS = 100_000  # up to so many items a sum over all of them is quicker than sorting
_RECENT = 50  # events of a history that count; .9^50 is below 1 %

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TransitionTable:
    """The strongest followers of each item, in CSR form.

    Attributes:
        offsets: (N + 1,) int64; followers of item i are entries `offsets[i]:offsets[i + 1]`.
        followers: (nnz,) int64 item rows, ascending inside an item.
        weights: (nnz,) float32, already divided by popularity^damping.
        decay: of the history's older events, 0 to 1.
        damping: exponent of the popularity.
    """

    offsets: Rows
    followers: Rows
    weights: Floats
    decay: float
    damping: float

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def load(cls, bundle: Bundle) -> TransitionTable:
        """Open the table of a bundle."""
        arrays = bundle.arrays(TRANSITIONS_FILE)
        decay, damping = arrays["parameters"].tolist()
        return cls(arrays["offsets"], arrays["followers"].astype(np.int64), arrays["weights"], decay, damping)

    def save(self, folder: Path) -> None:
        """Write the table into a bundle's folder."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "offsets": self.offsets,
            "followers": self.followers.astype(np.int32),
            "weights": self.weights,
            "parameters": np.array([self.decay, self.damping], np.float64),
        }
        write_arrays(folder / TRANSITIONS_FILE, arrays)

    def scored(self, history_rows: Rows) -> tuple[Rows, Floats]:
        """Every item with a score for one history.

        Args:
            history_rows: (L,) item rows, oldest first; unknown ones (-1) are passed over but keep their place in time.

        Returns:
            Item rows, ascending and distinct, and their scores.
        """
        followers, weights = self._contributions(history_rows)
        if len(self) <= _DENSE_ITEMS:
            sums = np.bincount(followers, weights, minlength=len(self))
            rows = np.flatnonzero(sums)
            return rows, sums[rows].astype(np.float32)
        rows, places = np.unique(followers, return_inverse=True)
        return rows, np.bincount(places, weights, minlength=len(rows)).astype(np.float32)

    def scores(self, history_rows: Rows, candidate_rows: Rows) -> Floats:
        """(N,) the scores of given candidates for one history, 0 where nothing is known."""
        followers, weights = self._contributions(history_rows)
        known = candidate_rows != NONE
        if len(self) <= _DENSE_ITEMS:
            sums = np.bincount(followers, weights, minlength=len(self))
            return np.where(known, sums[candidate_rows], 0).astype(np.float32)
        wanted, place = np.unique(candidate_rows, return_inverse=True)
        at = np.minimum(np.searchsorted(wanted, followers), len(wanted) - 1)
        hits = wanted[at] == followers
        sums = np.bincount(at[hits], weights[hits], minlength=len(wanted))
        return np.where(known, sums[place], 0).astype(np.float32)

    def _contributions(self, history_rows: Rows) -> tuple[Rows, npt.NDArray[np.float64]]:
        """The followers of the latest events and what each adds to their scores."""
        recent = history_rows[::-1][:_RECENT]
        ages = np.flatnonzero(recent != NONE)
        starts, stops = self.offsets[recent[ages]], self.offsets[recent[ages] + 1]
        counts = stops - starts
        entries = np.arange(counts.sum()) + np.repeat(starts - np.concatenate(([0], np.cumsum(counts)[:-1])), counts)
        return self.followers[entries], self.weights[entries] * np.repeat(self.decay**ages, counts)

    def top(self, histories: Sequence[Rows], k: int) -> Found:
        """The k best items of each history (item rows), best first; the history's own items are not excluded."""
        found = [best_of(rows[None], scores[None], k) for rows, scores in map(self.scored, histories)]
        if not found:
            return Found(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
        return Found(np.vstack([part.rows for part in found]), np.vstack([part.scores for part in found]))

    def search(self, histories: Sequence[History], vocabulary: Vocabulary, k: int) -> Found:
        """The k best items of each history of the domain."""
        return self.top([vocabulary.rows(history.item_ids) for history in histories], k)

    def similar(self, item_rows: Rows, k: int) -> Found:
        """The k strongest followers of each item."""
        return self.top([item_rows[place : place + 1] for place in range(len(item_rows))], k)


def count_transitions(sequences: tuple[Rows, Rows], items: int) -> tuple[Rows, Rows, npt.NDArray[np.float64]]:
    """The raw counter T as sorted coordinates.

    Args:
        sequences: item rows of all users in time order, flat, and the users' offsets, (U + 1,).
        items: N.

    Returns:
        Rows i, rows j and T[i, j] for every pair that occurs (i ≠ j), in order of (i, j).
    """
    rows, offsets = sequences
    users = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    keys, weights = np.empty(0, np.int64), np.empty(0)
    for distance in range(1, DISTANCE + 1):
        same = users[distance:] == users[:-distance]
        before, after = rows[:-distance][same], rows[distance:][same]
        moved = before != after
        pairs = before[moved] * items + after[moved]
        keys, weights = _merged(keys, weights, pairs, np.full(len(pairs), 1 / distance))
    return keys // items, keys % items, weights


@dataclass(frozen=True, slots=True)
class TransitionCounts:
    """The raw counter T and the popularity of each item: every table of the same events is made of them.

    Attributes:
        before, after: (nnz,) rows i and j of each pair that occurs (i ≠ j), in order of (i, j).
        counts: (nnz,) T[i, j].
        popularity: (N,) events of each item.
    """

    before: Rows
    after: Rows
    counts: npt.NDArray[np.float64]
    popularity: npt.NDArray[np.float64]

    @classmethod
    def of(cls, sequences: tuple[Rows, Rows], items: int) -> TransitionCounts:
        """Count; the arguments are those of `count_transitions`."""
        popularity = np.bincount(sequences[0], minlength=items).astype(np.float64)
        return cls(*count_transitions(sequences, items), popularity)

    def table(self, keep: int, parameters: tuple[float, float]) -> TransitionTable:
        """Weigh the counts and keep the strongest followers of each item.

        Args:
            keep: M.
            parameters: decay and damping.
        """
        (decay, damping), items = parameters, len(self.popularity)
        weights = self.counts / np.maximum(self.popularity[self.after], 1) ** damping
        strongest = np.lexsort((self.after, -weights, self.before))  # by item, then weight falling, then row
        starts = np.concatenate(([0], np.cumsum(np.bincount(self.before, minlength=items))))
        kept = np.sort(strongest[(np.arange(len(strongest)) - starts[self.before[strongest]]) < keep])
        offsets = np.concatenate(([0], np.cumsum(np.bincount(self.before[kept], minlength=items))))
        return TransitionTable(offsets, self.after[kept], weights[kept].astype(np.float32), decay, damping)


def transition_table(
    sequences: tuple[Rows, Rows], items: int, keep: int, parameters: tuple[float, float]
) -> TransitionTable:
    """Count and weigh at once, see `TransitionCounts`."""
    return TransitionCounts.of(sequences, items).table(keep, parameters)


def _merged(
    keys: Rows, weights: npt.NDArray[np.float64], more: Rows, more_weights: npt.NDArray[np.float64]
) -> tuple[Rows, npt.NDArray[np.float64]]:
    """Add weighted pairs to a sorted sum, so that memory follows the distinct pairs, not all of them."""
    distinct, places = np.unique(np.concatenate([keys, more]), return_inverse=True)
    return distinct, np.bincount(places, np.concatenate([weights, more_weights])).astype(np.float64)
