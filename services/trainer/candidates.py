"""What the ranker chooses from, offline: the candidates that retrieval would have given at a moment of the past.

The sources are those of serving: the retriever, the transition counter, what is popular and what is trending at the
moment, and a few other items, which stand for the sources that know nobody. A candidate that a source did not give has
rank 0 there.
Q requests, C candidates a request, N items, d width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from services.trainer.datasets_ragged import Ragged
from services.trainer.moments import Moments
from shared.model.index import NONE, best_of
from shared.model.transitions import TransitionTable

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_CHUNK = 512
_SCORES = 1 << 23  # of requests times items that are in memory at once


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many candidates each source gives."""

    retrieved: int = 150
    neighbours: int = 50
    popular: int = 30
    trending: int = 20
    others: int = 10

    @property
    def total(self) -> int:
        """Of all sources."""
        return self.retrieved + self.neighbours + self.popular + self.trending + self.others


@dataclass(frozen=True, slots=True)
class CandidateLists:
    """The merged candidates of Q requests, padded.

    Attributes:
        rows: (Q, C) int64 distinct item rows, retrieved ones first in their order, -1 behind the end.
        retrieval_scores, retrieval_ranks: (Q, C) of the retriever; rank from 1, 0 = not given.
        neighbour_scores, neighbour_ranks: (Q, C) of the transition counter.
    """

    rows: Rows
    retrieval_scores: Floats
    retrieval_ranks: npt.NDArray[np.int32]
    neighbour_scores: Floats
    neighbour_ranks: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, requests: Rows | npt.NDArray[np.bool_]) -> CandidateLists:
        """Some of the requests."""
        return CandidateLists(
            self.rows[requests],
            self.retrieval_scores[requests],
            self.retrieval_ranks[requests],
            self.neighbour_scores[requests],
            self.neighbour_ranks[requests],
        )


@dataclass(frozen=True, slots=True)
class Asking:
    """Q requests for candidates.

    Attributes:
        users: (Q, d) unit user vectors.
        histories: item rows of each history, oldest first.
        seen: item rows that may not come again.
        times_s: (Q,) when each is made.
    """

    users: Floats
    histories: Ragged
    seen: Ragged
    times_s: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.users)

    def part(self, start: int, stop: int) -> Asking:
        """The requests `start:stop`."""
        return Asking(
            self.users[start:stop],
            self.histories.rows(start, stop),
            self.seen.rows(start, stop),
            self.times_s[start:stop],
        )


class CandidateFinder:
    """Finds candidates by exact search: in training the index's own loss of recall is no matter.

    Args:
        items: (N, d) unit vectors.
        transitions: the counter.
        allowed: (N,) items that may be candidates.
        moments: what was popular when.
        quotas: of the sources.
    """

    def __init__(
        self,
        items: Floats,
        transitions: TransitionTable,
        allowed: npt.NDArray[np.bool_],
        moments: Moments,
        quotas: Quotas,
    ) -> None:
        self._items, self._transitions, self._allowed = items, transitions, allowed
        self._moments, self._quotas = moments, quotas

    def find(self, asking: Asking, rng: np.random.Generator) -> CandidateLists:
        """The candidates of Q requests; `rng` draws the other items."""
        chunk = max(1, min(_CHUNK, _SCORES // max(1, len(self._items))))
        parts = [self._find(asking.part(start, min(start + chunk, len(asking))), rng)
                 for start in range(0, len(asking), chunk)]  # fmt: skip
        return CandidateLists(*(np.concatenate([getattr(part, name) for part in parts])
                                for name in CandidateLists.__dataclass_fields__))  # fmt: skip

    def _find(self, asking: Asking, rng: np.random.Generator) -> CandidateLists:
        blocked = np.broadcast_to(~self._allowed, (len(asking), len(self._allowed))).copy()
        blocked[asking.seen.row_of_each(), asking.seen.flat] = True
        scores = np.where(blocked, -np.inf, products(asking.users, self._items))  # (Q, N)
        kept = min(self._quotas.retrieved, scores.shape[1])
        rows = np.argpartition(-scores, kept - 1, axis=1)[:, :kept].astype(np.int64)
        best = np.take_along_axis(scores, rows, axis=1).astype(np.float32)
        retrieved = best_of(np.where(np.isfinite(best), rows, NONE), best, kept)
        merged = _empty(len(asking), self._quotas.total)
        for request in range(len(asking)):
            near, near_scores = self._transitions.scored(asking.histories[request])
            free = ~blocked[request, near]
            neighbours = best_of(near[free][None], near_scores[free][None], self._quotas.neighbours)
            sources = (retrieved.rows[request], retrieved.scores[request], neighbours.rows[0], neighbours.scores[0])
            _merge(merged, request, sources, self._unscored(blocked[request], float(asking.times_s[request]), rng))
        return merged

    def _unscored(self, blocked: npt.NDArray[np.bool_], time_s: float, rng: np.random.Generator) -> Rows:
        """What is popular and trending, and other items at random; repeats are possible."""
        lists = self._moments.top_lists(time_s)
        others = rng.integers(0, len(blocked), self._quotas.others)
        popular, trending, others = (rows[~blocked[rows]] for rows in (lists.popular, lists.trending, others))
        return np.concatenate([popular[: self._quotas.popular], trending[: self._quotas.trending], others])


def products(users: Floats, items: Floats) -> Floats:
    """(Q, N) dot products, by torch: its threads are those that the training was given, numpy's are all there are."""
    scores: Floats = (torch.from_numpy(users) @ torch.from_numpy(items).T).numpy()
    return scores


def _empty(requests: int, width: int) -> CandidateLists:
    floats = [np.zeros((requests, width), np.float32) for _ in range(2)]
    ranks = [np.zeros((requests, width), np.int32) for _ in range(2)]
    return CandidateLists(np.full((requests, width), NONE, np.int64), floats[0], ranks[0], floats[1], ranks[1])


def _merge(out: CandidateLists, request: int, sources: tuple[Rows, Floats, Rows, Floats], others: Rows) -> None:
    rows, scores, near, near_scores = sources
    rows, scores = rows[rows != NONE], scores[rows != NONE]
    near, near_scores = near[near != NONE], near_scores[near != NONE]
    known, first = np.unique(np.concatenate([rows, near, others]), return_index=True)
    every = known[np.argsort(first)]  # in order of first mention
    place = np.empty(len(known), np.int64)
    place[np.argsort(first)] = np.arange(len(known))
    out.rows[request, : len(every)] = every
    out.retrieval_scores[request, : len(rows)] = scores
    out.retrieval_ranks[request, : len(rows)] = np.arange(1, len(rows) + 1)
    at = place[np.searchsorted(known, near)]
    out.neighbour_scores[request, at] = near_scores
    out.neighbour_ranks[request, at] = np.arange(1, len(near) + 1)
