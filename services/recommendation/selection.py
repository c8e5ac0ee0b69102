"""The order in which pages show the candidates: value, boosted or buried by rule, damped where it repeats, with caps.

Greedy: the next entry is the one of greatest damped value, given the entries before it (the author decay of
xai-org/x-algorithm's home-mixer). Damping only ever lowers a value, so a heap whose keys may be outdated finds it
without looking at all candidates again (the "lazy greedy" of Minoux, 1978). Behind the first entries, where nobody
looks at two at once, the order is that of the values damped by what the first entries showed.

Values of 0 and more always stand above negative ones, and these above candidates without a finite score. Pins move
entries afterwards and leave their values.

Dimensions: N candidates.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from services.recommendation.damping import Damping, Likeness, Repetition, codes_of, codes_of_rows, unit_vectors
from services.recommendation.labels import ATTRIBUTE, CATEGORY, TAG
from services.recommendation.rule_effects import boosts_of, pinned
from services.recommendation.slate import Adjustment, Order, Rows, Scores
from services.recommendation.surface import Surface
from shared.domain.ranking import Candidates
from shared.domain.slates import Labels

CREATOR_RULE, CATEGORY_RULE, LIKENESS_RULE, CAP_RULE = "diversity-creator", "diversity-category", "diversity-mmr", "cap"

GREEDY_DEPTH = 50
"""Entries that are chosen one by one; a larger page is chosen so as a whole."""

NOTHING = 1e-12
"""A value nearer to 0 is 0, so that no factor between two values ever overflows."""

NO_LABELS = Labels()

_NEGATIVE, _SUNK, _OVER_CAP = 2, 4, 1  # tiers: the lowest goes first, whatever the value

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def order(
    candidates: Candidates, scores: Scores, surface: Surface, page_size: int, labels: Labels = NO_LABELS
) -> Order:
    """All candidates, best first. Ties keep the order of the merge."""
    plain = np.where(np.abs(scores.values) < NOTHING, 0.0, scores.values)  # (N,)
    boosts = tuple(boosts_of(plain, surface, labels))
    values = plain * np.prod([factors for _, factors in boosts], axis=0) if boosts else plain
    tiers = np.where(scores.sunk, _SUNK, np.where(values < 0, _NEGATIVE, 0))  # (N,)
    rules = _rules(candidates, surface, labels)
    if rules:
        ranked = _Selection(values, tiers, rules).order(max(page_size, GREEDY_DEPTH))
    else:
        ranked = Order(_sorted(tiers, values), values)
    rows, moves = pinned(ranked.rows, surface, labels)
    return Order(rows, ranked.values, (*boosts, *ranked.adjustments), moves)


def _rules(candidates: Candidates, surface: Surface, labels: Labels) -> tuple[Damping, ...]:
    """The rules that damp or cap anything here."""
    return (*_repetitions(candidates, surface, labels), *_likeness(len(candidates), surface, labels))


def _repetitions(candidates: Candidates, surface: Surface, labels: Labels) -> Iterator[Repetition]:
    diversity, caps, count = surface.diversity, surface.caps, len(candidates)
    creators = _factors(diversity.creator_decay, diversity.creator_floor, count)
    categories = _factors(diversity.category_decay, diversity.category_floor, count)
    if candidates.creator_ids and (creators or caps.per_creator):
        yield Repetition(CREATOR_RULE, codes_of(candidates.creator_ids), creators, caps.per_creator)
    if candidates.primary_categories and (categories or caps.per_category):
        yield Repetition(CATEGORY_RULE, codes_of(candidates.primary_categories), categories, caps.per_category)
    for name, cap in caps.per_attribute.items():
        if cap and (rows := [each for _, each in labels.of(f"{ATTRIBUTE}{name}=")]):
            yield Repetition(name, codes_of_rows(rows, count), (), cap)


def _likeness(count: int, surface: Surface, labels: Labels) -> Iterator[Likeness]:
    if surface.diversity.mmr_strength and (rows := [each for _, each in (*labels.of(CATEGORY), *labels.of(TAG))]):
        yield Likeness(LIKENESS_RULE, unit_vectors(rows, count), surface.diversity.mmr_strength)


@lru_cache(maxsize=4096)
def _factors(decay: float, floor: float, count: int) -> tuple[float, ...]:
    """What the n-th repetition is worth, of at most `count`."""
    if decay == 1:
        return ()
    return tuple(np.maximum(decay ** np.arange(count + 1), floor).tolist())


class _Selection:
    def __init__(self, values: Floats, tiers: Integers, rules: Sequence[Damping]) -> None:
        self._values, self._tiers = values, tiers
        self._value_list: list[float] = values.tolist()
        self._tier_list: list[int] = tiers.tolist()
        self._rules = rules
        self._dampings = [rule for rule in rules if rule.damps]
        self._caps = [rule for rule in rules if isinstance(rule, Repetition) and rule.caps]

    def order(self, depth: int) -> Order:
        """The first `depth` one by one, the rest at once."""
        first, chosen = self._greedy(depth)
        factors = np.array([rule.factors_now() for rule in self._dampings]).reshape(
            len(self._dampings), len(self._values)
        )
        if first and self._dampings:
            factors[:, first] = np.array(chosen).T
        factors **= np.where(self._values < 0, -1.0, 1.0)  # damping makes a negative value more so
        damped = self._values * factors.prod(axis=0) if self._dampings else self._values
        full = np.any([rule.full_now() for rule in self._caps], axis=0) if self._caps else False
        tiers = self._tiers | np.where(full, _OVER_CAP, 0)
        later = np.ones(len(damped), np.bool_)
        later[first] = False
        rest = np.flatnonzero(later)
        rows = np.concatenate((np.array(first, np.int32), rest[_sorted(tiers[rest], damped[rest])])).astype(np.int32)
        return _held(rows, damped, [(rule.name, each) for rule, each in zip(self._dampings, factors, strict=True)])

    def _greedy(self, depth: int) -> tuple[list[int], list[tuple[float, ...]]]:
        """The first rows, and the factors of the rules with which each was chosen."""
        rows: list[int] = []
        factors: list[tuple[float, ...]] = []
        keys = zip(self._tier_list, (-self._values).tolist(), range(len(self._value_list)), strict=True)
        heap: list[tuple[int, float, int]] = list(keys)
        heapq.heapify(heap)
        while heap and len(rows) < depth:
            row = heap[0][2]
            each = tuple([rule.factor(row) for rule in self._dampings])
            key = self._key(row, each)
            if key > heap[0]:  # outdated: something alike was shown since
                heapq.heapreplace(heap, key)
                continue
            heapq.heappop(heap)
            rows.append(row)
            factors.append(each)
            for rule in self._rules:
                rule.show(row)
        return rows, factors

    def _key(self, row: int, factors: tuple[float, ...]) -> tuple[int, float, int]:
        tier, value = self._tier_list[row], self._value_list[row]
        for rule in self._caps:
            if rule.full(row):
                tier |= _OVER_CAP
        factor = 1.0
        for each in factors:
            factor *= each
        return tier, -(value * factor if value >= 0 else value / factor), row


def _held(rows: Rows, damped: Floats, adjustments: list[Adjustment]) -> Order:
    """What a cap held back is worth no more than the entry above it, so values never rise along the order."""
    final = damped.copy()
    final[rows] = np.minimum.accumulate(damped[rows])
    held = np.divide(final, damped, out=np.ones(len(damped)), where=damped != 0)
    named = (*adjustments, (CAP_RULE, held))
    return Order(rows, final, tuple((name, factors) for name, factors in named if (factors != 1).any()))


def _sorted(tiers: Integers, values: Floats) -> Rows:
    return np.lexsort((np.arange(len(values)), -values, tiers)).astype(np.int32)
