"""The order in which pages show the candidates: value, damped where a creator or a category repeats, with caps.

Greedy: the next entry is the one of greatest damped value, given the entries before it (the author decay of
xai-org/x-algorithm's home-mixer). Damping only ever lowers a value, so a heap whose keys may be outdated finds it
without looking at all candidates again (the "lazy greedy" of Minoux, 1978). Behind the first entries, where nobody
looks at two at once, the order is that of the values damped by what the first entries showed.

Values of 0 and more always stand above negative ones, and these above candidates without a finite score.

Dimensions: N candidates, K different creators or categories.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.recommendation.slate import Order, Scores
from services.recommendation.surfaces import Surface
from shared.domain.ranking import Candidates

CREATOR_RULE, CATEGORY_RULE, CAP_RULE = "diversity-creator", "diversity-category", "cap"

GREEDY_DEPTH = 50
"""Entries that are chosen one by one; a larger page is chosen so as a whole."""

NOTHING = 1e-12
"""A value nearer to 0 is 0, so that no factor between two values ever overflows."""

_NEGATIVE, _SUNK, _OVER_CAP = 2, 4, 1  # tiers: the lowest goes first, whatever the value

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def order(candidates: Candidates, scores: Scores, surface: Surface, page_size: int) -> Order:
    """All candidates, best first. Ties keep the order of the merge."""
    values = np.where(np.abs(scores.values) < NOTHING, 0.0, scores.values)  # (N,)
    tiers = np.where(scores.sunk, _SUNK, np.where(values < 0, _NEGATIVE, 0))  # (N,)
    if not candidates.creator_ids or not _repeats_matter(surface):
        return Order(_sorted(tiers, values), values)
    return _Selection(values, tiers, _rules(candidates, surface)).order(max(page_size, GREEDY_DEPTH))


def _repeats_matter(surface: Surface) -> bool:
    diversity, caps = surface.diversity, surface.caps
    return min(diversity.creator_decay, diversity.category_decay) < 1 or bool(caps.per_creator or caps.per_category)


def _rules(candidates: Candidates, surface: Surface) -> tuple[_Repetition, _Repetition]:
    diversity, caps = surface.diversity, surface.caps
    count = len(candidates)
    creators = _factors(diversity.creator_decay, diversity.creator_floor, count)
    categories = _factors(diversity.category_decay, diversity.category_floor, count)
    return (
        _Repetition.of(candidates.creator_ids, creators, caps.per_creator),
        _Repetition.of(candidates.primary_categories, categories, caps.per_category),
    )


def _factors(decay: float, floor: float, count: int) -> list[float]:
    """What the n-th repetition is worth, of at most `count`."""
    factors: list[float] = np.maximum(decay ** np.arange(count + 1), floor).tolist()
    return factors


@dataclass(frozen=True, slots=True)
class _Repetition:
    """What is shown of one kind of key (creators, say), and what one more of the same is worth.

    Attributes:
        codes: (N,) the keys as numbers; 0 = none, which never repeats.
        shown: (K + 1,) entries shown so far by code.
        cap: entries of one key before everything else had its turn; 0 = no cap.
    """

    codes: list[int]
    shown: list[int]
    factors: list[float]
    cap: int

    @classmethod
    def of(cls, keys: Sequence[str], factors: list[float], cap: int) -> _Repetition:
        known = {"": 0}
        codes = [known.setdefault(key, len(known)) for key in keys]
        return cls(codes, [0] * len(known), factors, cap)

    def factor(self, row: int) -> float:
        repeats = self.shown[self.codes[row]]
        return self.factors[repeats]

    def full(self, row: int) -> bool:
        return 0 < self.cap <= self.shown[self.codes[row]]

    def show(self, row: int) -> None:
        if self.codes[row]:
            self.shown[self.codes[row]] += 1

    def factors_now(self) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Factor and fullness of all rows at once: (N,), (N,)."""
        repeats = np.array(self.shown)[self.codes]
        full = repeats >= self.cap if self.cap else np.zeros(len(self.codes), np.bool_)
        return np.array(self.factors)[repeats], full


class _Selection:
    def __init__(self, values: Floats, tiers: Integers, rules: tuple[_Repetition, _Repetition]) -> None:
        self._values, self._tiers = values, tiers
        self._value_list: list[float] = values.tolist()
        self._tier_list: list[int] = tiers.tolist()
        self._creator, self._category = rules

    def order(self, depth: int) -> Order:
        """The first `depth` one by one, the rest at once."""
        first, chosen = self._greedy(depth)
        (creator, creator_full), (category, category_full) = self._creator.factors_now(), self._category.factors_now()
        if first:
            creator[first], category[first] = np.array(chosen).T
        down = np.where(self._values < 0, -1.0, 1.0)  # damping makes a negative value more so
        creator, category = creator**down, category**down
        damped = self._values * creator * category
        tiers = self._tiers | np.where(creator_full | category_full, _OVER_CAP, 0)
        rest = np.setdiff1d(np.arange(len(damped)), first)
        rows = np.concatenate((np.array(first, np.int32), rest[_sorted(tiers[rest], damped[rest])])).astype(np.int32)
        return _held(rows, damped, creator, category)

    def _greedy(self, depth: int) -> tuple[list[int], list[tuple[float, float]]]:
        """The first rows, and the factors of creator and category with which each was chosen."""
        rows: list[int] = []
        factors: list[tuple[float, float]] = []
        keys = zip(self._tier_list, (-self._values).tolist(), range(len(self._value_list)), strict=True)
        heap: list[tuple[int, float, int]] = list(keys)
        heapq.heapify(heap)
        while heap and len(rows) < depth:
            row = heap[0][2]
            creator, category = self._creator.factor(row), self._category.factor(row)
            key = self._key(row, creator * category)
            if key > heap[0]:  # outdated: something alike was shown since
                heapq.heapreplace(heap, key)
                continue
            heapq.heappop(heap)
            rows.append(row)
            factors.append((creator, category))
            self._creator.show(row)
            self._category.show(row)
        return rows, factors

    def _key(self, row: int, factor: float) -> tuple[int, float, int]:
        tier, value = self._tier_list[row], self._value_list[row]
        if self._creator.full(row) or self._category.full(row):
            tier |= _OVER_CAP
        return tier, -(value * factor if value >= 0 else value / factor), row


def _held(rows: npt.NDArray[np.int32], damped: Floats, creator: Floats, category: Floats) -> Order:
    """What a cap held back is worth no more than the entry above it, so values never rise along the order."""
    final = damped.copy()
    final[rows] = np.minimum.accumulate(damped[rows])
    held = np.divide(final, damped, out=np.ones(len(damped)), where=damped != 0)
    named = ((CREATOR_RULE, creator), (CATEGORY_RULE, category), (CAP_RULE, held))
    return Order(rows, final, tuple((name, factors) for name, factors in named if (factors != 1).any()))


def _sorted(tiers: Integers, values: Floats) -> npt.NDArray[np.int32]:
    return np.lexsort((np.arange(len(values)), -values, tiers)).astype(np.int32)
