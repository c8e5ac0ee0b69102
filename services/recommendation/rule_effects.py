"""What business rules do to an order: boosts and buries change values, pins move entries.

Dimensions: N candidates.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from services.recommendation.business_rules import BusinessRule, Deed
from services.recommendation.labels import rule_rows
from services.recommendation.slate import Adjustment, Rows
from services.recommendation.surface import Surface
from shared.domain.slates import Labels

Floats = npt.NDArray[np.float64]


def boosts_of(values: Floats, surface: Surface, labels: Labels) -> Iterator[Adjustment]:
    """What boosts and buries multiply each value by. A sign never changes: a negative value is divided instead."""
    found = rule_rows(labels)
    for rule in surface.rules:
        if rule.factor is not None and rule.name in found:
            factors = np.ones(len(values))
            rows = found[rule.name]
            factors[rows] = np.where(values[rows] < 0, 1 / rule.factor, rule.factor)
            yield rule.label, factors


def pinned(ranked: Rows, surface: Surface, labels: Labels) -> tuple[Rows, tuple[tuple[str, Rows], ...]]:
    """The order with what is pinned at its place, and what each pin moved."""
    found = rule_rows(labels)
    pins = [rule for rule in surface.rules if rule.do is Deed.PIN and rule.name in found]
    if not pins:
        return ranked, ()
    place_of = np.empty(len(ranked), np.int64)
    place_of[ranked] = np.arange(len(ranked))
    wanted: dict[int, int] = {}  # position → row
    moves = []
    for rule in pins:
        chosen = _chosen(rule, found[rule.name], place_of, frozenset(wanted.values()))
        for offset, row in enumerate(chosen):
            wanted[_free(wanted, (rule.position or 0) + offset)] = row
        moves.append((rule.label, np.array(chosen, np.int32)))
    rest = iter(ranked[~np.isin(ranked, list(wanted.values()))].tolist())
    last = len(ranked) - 1
    rows = [wanted[place] if place in wanted else next(rest, -1) for place in range(max(last, *wanted) + 1)]
    return np.array([row for row in rows if row >= 0], np.int32), tuple(moves)


def _chosen(rule: BusinessRule, rows: Rows, place_of: npt.NDArray[np.int64], taken: frozenset[int]) -> list[int]:
    """The rows that a pin takes: named items in the rule's order, others the best ranked first."""
    if rule.items:
        count, ordered = rule.count or len(rows), rows.tolist()
    else:
        count, ordered = rule.count or 1, rows[np.argsort(place_of[rows])].tolist()
    return [row for row in ordered if row not in taken][:count]


def _free(wanted: dict[int, int], position: int) -> int:
    while position in wanted:
        position += 1
    return position
