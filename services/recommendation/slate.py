"""A slate on its way: one frozen dataclass a step, candidates as columns.

Dimensions: N candidates, A actions. Row i of every column belongs to `item_ids[i]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shared.domain.history import History
from shared.domain.items import User
from shared.domain.ranking import ScoreParts
from shared.domain.retrieval import SourceHits
from shared.domain.user_state import ItemState

Rows = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Adjustment = tuple[str, npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whom the slate is for, as far as it is known.

    Attributes:
        blocked: creators, categories and tags of which the user wants nothing.
        served: items of the latest slates, latest first.
        affinities: share of the user's attention by category.
        watermark: log position that this knowledge includes; "" when no state was read.
    """

    history: History = field(default_factory=History.empty)
    consumed: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    served: tuple[str, ...] = ()
    affinities: dict[str, float] = field(default_factory=dict)
    profile: User | None = None
    watermark: str = ""
    blocked: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Pool:
    """N candidates in the order of their merge, each once.

    Attributes:
        sources: who gave what; place in a source's rows + 1 is the rank there.
        states: (N,) what the catalogue knows, None where it could not be asked; empty before hydration.
    """

    item_ids: tuple[str, ...] = ()
    sources: tuple[SourceHits, ...] = ()
    states: tuple[ItemState | None, ...] = ()

    def __len__(self) -> int:
        return len(self.item_ids)

    @classmethod
    def of(cls, source: str, item_ids: Sequence[str], scores: Sequence[float] = ()) -> Pool:
        """What one source gave, best first; repeats are dropped. No scores: 1 / rank."""
        places = {item_id: place for place, item_id in reversed(list(enumerate(item_ids)))}
        kept = np.array(sorted(places.values()), np.int32)
        given = np.asarray(scores if len(scores) else 1 / np.arange(1, len(item_ids) + 1), np.float32)
        hits = SourceHits(source, np.arange(len(kept), dtype=np.int32), given[kept])
        return cls(tuple(item_ids[place] for place in kept), (hits,))

    def take(self, rows: Rows) -> Pool:
        """The candidates at these rows, in this order; ranks in the sources close up."""
        if len(rows) == len(self) and np.array_equal(rows, np.arange(len(self))):
            return self
        places = np.full(len(self), -1, np.int32)  # (N,) new row of each old one
        places[rows] = np.arange(len(rows), dtype=np.int32)
        states = tuple(self.states[row] for row in rows) if self.states else ()
        return Pool(tuple(self.item_ids[row] for row in rows), _moved(self.sources, places), states)

    def without(self, item_ids: frozenset[str]) -> Pool:
        """The candidates that are none of these."""
        if item_ids.isdisjoint(self.item_ids):
            return self
        return self.take(np.array([row for row, each in enumerate(self.item_ids) if each not in item_ids], np.int32))

    def joined(self, other: Pool) -> Pool:
        """These, and behind them those of `other` that are not here yet (both hydrated, or neither)."""
        row_of = {item_id: row for row, item_id in enumerate(self.item_ids)}
        for item_id in other.item_ids:
            row_of.setdefault(item_id, len(row_of))
        places = np.fromiter((row_of[item_id] for item_id in other.item_ids), np.int32, len(other))
        merged = {hits.source: hits for hits in self.sources}
        for hits in _moved(other.sources, places):
            merged[hits.source] = _appended(merged[hits.source], hits) if hits.source in merged else hits
        states = dict(zip(other.item_ids, other.states, strict=False)) | dict(
            zip(self.item_ids, self.states, strict=False)
        )
        return Pool(tuple(row_of), tuple(merged.values()), tuple(states[each] for each in row_of) if states else ())


@dataclass(frozen=True, slots=True)
class Scores:
    """What the candidates are worth before any rule.

    Attributes:
        values: (N,) float64, finite.
        sunk: (N,) candidates whose scores were not finite: they stand behind all others.
        actions, weights: A codes and weights with values = probabilities · weights; weights of 0 throughout: the
            order is retrieval's own.
        probabilities: (N, A) float32 as the ranker gave them.
        ratings: (N,) expected rating, or length 0.
    """

    values: npt.NDArray[np.float64]
    sunk: Mask
    actions: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    probabilities: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), np.float32))
    ratings: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    parts: ScoreParts | None = None
    model_version: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """All candidates in the order in which pages show them.

    Attributes:
        rows: (N,) rows, best first.
        values: (N,) float64 by row, after every rule; never rises along `rows` but for what a rule moved.
        adjustments: (rule, (N,) factors by row): values = the scores' values · Π factors.
        moves: (rule, rows) that it put elsewhere than their values would.
        propensities: (N,) probability of each position's entry, given those above; length 0: 1 throughout.
    """

    rows: Rows
    values: npt.NDArray[np.float64]
    adjustments: tuple[Adjustment, ...] = ()
    moves: tuple[tuple[str, Rows], ...] = ()
    propensities: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    def propensities_of(self, count: int) -> npt.NDArray[np.float32]:
        """Those of the first positions."""
        return self.propensities[:count] if len(self.propensities) else np.ones(count, np.float32)


def _moved(sources: tuple[SourceHits, ...], places: Rows) -> tuple[SourceHits, ...]:
    """The hits with new row numbers; those whose new row is -1 are gone."""
    moved = []
    for hits in sources:
        rows = places[hits.rows]
        kept = rows >= 0
        moved.append(SourceHits(hits.source, rows[kept], hits.scores[kept]))
    return tuple(moved)


def _appended(first: SourceHits, second: SourceHits) -> SourceHits:
    new = ~np.isin(second.rows, first.rows)
    rows, scores = (first.rows, second.rows[new]), (first.scores, second.scores[new])
    return SourceHits(first.source, np.concatenate(rows), np.concatenate(scores))
