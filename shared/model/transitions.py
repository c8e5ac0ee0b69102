"""Which item follows which: a decayed transition counter, the strongest simple model of sequences.

For items i, j of one user with j at distance d ≤ 20 after i:  T[i, j] += 1 / d.
The score of j for a history h_0 (latest), h_1, …:  Σ_a decay^a · T[h_a, j] / popularity(j)^damping.
It takes seconds to fit, feeds the neighbours source and is a feature of the ranker. Each item keeps only its M
strongest followers. Source: the project's own measurements (it beats item-kNN, EASE and iALS on sequences).

B users, N items, M followers an item, k results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

_EVENTS_TOGETHER = 1 << 18  # whose pairs are counted at once: a few hundred megabytes at most
_PAIRS_TOGETHER = 1 << 21

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Columns = npt.NDArray[np.int32]
Counted = tuple[Rows, Rows, npt.NDArray[np.float64]]
"""Rows i, rows j and T[i, j]."""


@dataclass(frozen=True, slots=True)
class TransitionTable:
    """The strongest followers of each item, in CSR form.

    Attributes:
        offsets: (N + 1,) int64; followers of item i are entries `offsets[i]:offsets[i + 1]`.
        followers: (nnz,) int32 item rows, ascending inside an item.
        weights: (nnz,) float32, already divided by popularity^damping.
        decay: of the history's older events, 0 to 1.
        damping: exponent of the popularity.
    """

    offsets: Rows
    followers: Columns
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
        return cls(arrays["offsets"], arrays["followers"], arrays["weights"], decay, damping)

    def save(self, folder: Path) -> None:
        """Write the table into a bundle's folder."""
        arrays: dict[str, npt.NDArray[Any]] = {
            "offsets": self.offsets,
            "followers": self.followers,
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
        return self.followers[entries].astype(np.int64), self.weights[entries] * np.repeat(self.decay**ages, counts)

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


def count_transitions(sequences: tuple[Rows | Columns, Rows], items: int) -> Iterator[Counted]:
    """The raw counter T, some items at a time: all pairs of large data are more than memory holds.

    Args:
        sequences: item rows of all users in time order, flat, and the users' offsets, (U + 1,).
        items: N.

    Yields:
        Every pair that occurs (i ≠ j) once, in order of (i, j); all of an item i in the same part.
    """
    rows, offsets = sequences
    places = np.argsort(rows, kind="stable")  # by item, then by place
    borders = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=items))))
    ends = np.repeat(offsets[1:], np.diff(offsets))  # of each event's user
    first = 0
    while first < items:
        last = max(first + 1, int(np.searchsorted(borders, borders[first] + _EVENTS_TOGETHER, side="right")) - 1)
        yield _counted(rows, ends, places[borders[first] : borders[last]], items)
        first = last


def _counted(rows: Rows | Columns, ends: Rows, places: Rows, items: int) -> Counted:
    """T of the items at these places of the sequences."""
    keys, weights = [], []
    for distance in range(1, DISTANCE + 1):
        inside = places[places + distance < ends[places]]
        before, after = rows[inside].astype(np.int64), rows[inside + distance]
        moved = before != after
        keys.append(before[moved] * items + after[moved])
        weights.append(np.full(len(keys[-1]), 1 / distance))
    distinct, of_each = np.unique(np.concatenate(keys), return_inverse=True)
    counts = np.bincount(of_each, np.concatenate(weights), len(distinct)).astype(np.float64)
    return distinct // items, distinct % items, counts


@dataclass(frozen=True, slots=True)
class TransitionCounts:
    """The raw counter, from which tables with any of some dampings are made.

    Attributes:
        before, after: (nnz,) int32 rows i and j of pairs that occur (i ≠ j), in order of (i, j).
        counts: (nnz,) T[i, j].
        popularity: (N,) events of each item.
        keep: M, the strongest followers of each item that are here.
        dampings: by which they are the strongest.
    """

    before: Columns
    after: Columns
    counts: npt.NDArray[np.float64]
    popularity: npt.NDArray[np.float64]
    keep: int
    dampings: tuple[float, ...]

    @classmethod
    def of(
        cls, sequences: tuple[Rows | Columns, Rows], items: int, keep: int, dampings: Sequence[float]
    ) -> TransitionCounts:
        """Count; of each item only followers stay that are among the M strongest by one of the dampings."""
        popularity = np.bincount(sequences[0], minlength=items).astype(np.float64)
        parts = []
        for before, after, counts in count_transitions(sequences, items):
            strong = np.zeros(len(before), np.bool_)
            for damping in dampings:
                strong |= _strongest(before, after, _weights(after, counts, popularity, damping), keep)
            parts.append((before[strong].astype(np.int32), after[strong].astype(np.int32), counts[strong]))
        empty = (np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0))
        columns = [np.concatenate(column) for column in zip(*parts or [empty], strict=True)]
        return cls(columns[0], columns[1], columns[2], popularity, keep, tuple(dampings))

    def table(self, parameters: tuple[float, float]) -> TransitionTable:
        """Weigh the counts and keep the strongest followers of each item.

        Args:
            parameters: decay, and one of the dampings.

        Raises:
            ValueError: the counter was made for other dampings.
        """
        (decay, damping), items = parameters, len(self.popularity)
        if damping not in self.dampings:
            raise ValueError(f"the counter holds the strongest followers by damping {self.dampings}, not {damping}")
        borders = np.concatenate(([0], np.cumsum(np.bincount(self.before, minlength=items))))
        followers, weights, kept, first = [], [], np.zeros(items, np.int64), 0
        while first < items:
            last = max(first + 1, int(np.searchsorted(borders, borders[first] + _PAIRS_TOGETHER, side="right")) - 1)
            part = slice(borders[first], borders[last])
            before, after = self.before[part], self.after[part]
            weighed = _weights(after, self.counts[part], self.popularity, damping)
            strong = _strongest(before, after, weighed, self.keep)
            followers.append(after[strong])
            weights.append(weighed[strong].astype(np.float32))
            kept[first:last] = np.bincount(before[strong] - first, minlength=last - first)
            first = last
        none, nothing = np.empty(0, np.int32), np.empty(0, np.float32)
        offsets = np.concatenate(([0], np.cumsum(kept)))
        return TransitionTable(
            offsets, np.concatenate([none, *followers]), np.concatenate([nothing, *weights]), decay, damping
        )


def transition_table(
    sequences: tuple[Rows, Rows], items: int, keep: int, parameters: tuple[float, float]
) -> TransitionTable:
    """Count and weigh at once, see `TransitionCounts`."""
    return TransitionCounts.of(sequences, items, keep, parameters[1:]).table(parameters)


def _weights(
    after: Rows | Columns, counts: npt.NDArray[np.float64], popularity: npt.NDArray[np.float64], damping: float
) -> npt.NDArray[np.float64]:
    weighed: npt.NDArray[np.float64] = counts / np.maximum(popularity[after], 1) ** damping
    return weighed


def _strongest(
    before: Rows | Columns, after: Rows | Columns, weights: npt.NDArray[np.float64], keep: int
) -> npt.NDArray[np.bool_]:
    """Which of the pairs, in order of (before, after), are among the strongest of their item; ties by row."""
    order = np.lexsort((after, -weights, before))
    starts = np.flatnonzero(np.diff(before, prepend=-1))
    lengths = np.diff(np.append(starts, len(before)))
    strong = np.zeros(len(before), np.bool_)
    strong[order] = np.arange(len(before)) - np.repeat(starts, lengths) < keep
    return strong
