"""The order in which pages show the candidates: value, damped where a creator or a category repeats, with caps.

Greedy: the next entry is the one of greatest damped value, given the entries before it (the author decay of
xai-org/x-algorithm's home-mixer). Damping only ever lowers a value, so a heap whose keys may be outdated finds it
without looking at all candidates again (the "lazy greedy" of Minoux, 1978).

Values of 0 and more always stand above negative ones, and these above candidates without a finite score.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from services.recommendation.slate import Order, Scores
from services.recommendation.surfaces import Surface
from shared.domain.ranking import Candidates

CREATOR_RULE = "diversity-creator"
CATEGORY_RULE = "diversity-category"
CAP_RULE = "cap"

_NEGATIVE, _SUNK, _OVER_CAP = 2, 4, 1  # tiers: the lowest goes first, whatever the value

Floats = npt.NDArray[np.float64]


def order(candidates: Candidates, scores: Scores, surface: Surface) -> Order:
    """All candidates, best first. Ties keep the order of the merge."""
    tiers = np.where(scores.sunk, _SUNK, np.where(scores.values < 0, _NEGATIVE, 0))  # (N,)
    if not candidates.creator_ids or not _repeats_matter(surface):
        rows = np.lexsort((np.arange(len(candidates)), -scores.values, tiers)).astype(np.int32)
        return Order(rows, scores.values)
    creators, categories = _rules(candidates, surface)
    return _Greedy(scores.values, tiers, creators, categories).order()


def _repeats_matter(surface: Surface) -> bool:
    diversity, caps = surface.diversity, surface.caps
    return min(diversity.creator_decay, diversity.category_decay) < 1 or bool(caps.per_creator or caps.per_category)


@dataclass(frozen=True, slots=True)
class _Rule:
    """What one kind of repetition costs.

    Attributes:
        keys: (N,) what may repeat; "" = nothing.
        cap: entries of one key before everything else had its turn; 0 = no cap.
    """

    keys: Sequence[str]
    decay: float
    floor: float
    cap: int
    shown: Counter[str] = field(default_factory=Counter)

    def factor(self, row: int) -> float:
        repeats = self.shown[self.keys[row]]
        return max(self.decay**repeats, self.floor) if repeats else 1.0

    def full(self, row: int) -> bool:
        return bool(self.cap) and self.shown[self.keys[row]] >= self.cap

    def show(self, row: int) -> None:
        if self.keys[row]:
            self.shown[self.keys[row]] += 1


def _rules(candidates: Candidates, surface: Surface) -> tuple[_Rule, _Rule]:
    diversity, caps = surface.diversity, surface.caps
    return (
        _Rule(candidates.creator_ids, diversity.creator_decay, diversity.creator_floor, caps.per_creator),
        _Rule(candidates.primary_categories, diversity.category_decay, diversity.category_floor, caps.per_category),
    )


class _Greedy:
    def __init__(self, values: Floats, tiers: npt.NDArray[np.int64], creator: _Rule, category: _Rule) -> None:
        self._creator = creator
        self._category = category
        self._values: list[float] = values.tolist()
        self._tiers: list[int] = tiers.tolist()

    def order(self) -> Order:
        rows: list[int] = []
        damped, factors = [0.0] * len(self._values), [(1.0, 1.0, 1.0)] * len(self._values)
        heap = [(tier, -value, row) for row, (tier, value) in enumerate(zip(self._tiers, self._values, strict=True))]
        heapq.heapify(heap)
        while heap:
            key = self._key(heap[0][2])
            if key > heap[0]:  # outdated: something alike was shown since
                heapq.heapreplace(heap, key)
                continue
            _, negated, row = heapq.heappop(heap)
            last = damped[rows[-1]] if rows else -negated
            factors[row], damped[row] = self._show(row, -negated, last), min(-negated, last)
            rows.append(row)
        columns = np.array(factors).reshape(-1, 3).T  # (3, N)
        named = zip((CREATOR_RULE, CATEGORY_RULE, CAP_RULE), columns, strict=True)
        adjustments = tuple((name, column) for name, column in named if (column != 1).any())
        return Order(np.array(rows, np.int32), np.array(damped), adjustments)

    def _key(self, row: int) -> tuple[int, float, int]:
        tier, value = self._tiers[row], self._values[row]
        factor = self._creator.factor(row) * self._category.factor(row)
        if self._creator.full(row) or self._category.full(row):
            tier |= _OVER_CAP
        return tier, -(value * factor if value >= 0 else value / factor), row

    def _show(self, row: int, damped: float, last: float) -> tuple[float, float, float]:
        """Count the entry as shown; its three factors. What a cap held back is worth no more than the entry above."""
        creator, category = self._creator.factor(row), self._category.factor(row)
        self._creator.show(row)
        self._category.show(row)
        held = last / damped if damped > last else 1.0
        return (creator, category, held) if self._values[row] >= 0 else (1 / creator, 1 / category, held)
