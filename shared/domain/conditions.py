"""Typed comparisons on items' attributes: what a filter asks and whether an item fulfils it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from shared.domain.attributes import kind_of
from shared.domain.items import Item, Scalar


class Comparison(IntEnum):
    """How a condition compares. Codes equal `winnow.v1.Comparison`."""

    EQUAL = 1
    NOT_EQUAL = 2
    LESS = 3
    LESS_OR_EQUAL = 4
    GREATER = 5
    GREATER_OR_EQUAL = 6
    IN = 7
    NOT_IN = 8


ORDER: dict[Comparison, Callable[[float, float], bool]] = {
    Comparison.LESS: operator.lt,
    Comparison.LESS_OR_EQUAL: operator.le,
    Comparison.GREATER: operator.gt,
    Comparison.GREATER_OR_EQUAL: operator.ge,
}
"""The comparisons of numbers."""


@dataclass(frozen=True, slots=True)
class AttributeCondition:
    """One comparison. An item without the attribute, or with one of another type, does not fulfil it."""

    name: str
    comparison: Comparison
    operands: tuple[Scalar, ...]

    def holds(self, item: Item) -> bool:
        """Whether the item fulfils the condition."""
        value = item.attributes.get(self.name)
        if value is None:
            return False
        comparable = [operand for operand in self.operands if kind_of(operand) is kind_of(value)]
        if not comparable:
            return False
        if self.comparison in ORDER:
            operand = comparable[0]
            return (
                isinstance(value, int | float)
                and isinstance(operand, int | float)
                and ORDER[self.comparison](value, operand)
            )
        among = value in comparable
        return among if self.comparison in {Comparison.EQUAL, Comparison.IN} else not among


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """What may be recommended. Empty: everything that is available.

    Attributes:
        include_categories: an item needs at least one of these (empty: any).
        exclude_categories: an item may have none of these.
        exclude_item_ids: none of these items.
        conditions: an item must fulfil all of these.
    """

    include_categories: frozenset[str] = frozenset()
    exclude_categories: frozenset[str] = frozenset()
    exclude_item_ids: frozenset[str] = frozenset()
    conditions: tuple[AttributeCondition, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.include_categories or self.exclude_categories or self.exclude_item_ids or self.conditions)

    @property
    def needs_content(self) -> bool:
        """Whether the item itself (not its id alone) must be looked at."""
        return bool(self.include_categories or self.exclude_categories or self.conditions)

    def allows(self, item: Item, time_ms: int) -> bool:
        """Whether the item may be recommended at this moment: its window, categories, attributes and id."""
        return (
            item.item_id not in self.exclude_item_ids
            and available(item, time_ms)
            and (not self.include_categories or not self.include_categories.isdisjoint(item.categories))
            and self.exclude_categories.isdisjoint(item.categories)
            and all(condition.holds(item) for condition in self.conditions)
        )


EVERYTHING = ItemFilter()
"""The filter that removes nothing but what is not available."""


def available(item: Item, time_ms: int) -> bool:
    """Whether the moment lies in the item's availability window (0 = open end)."""
    return item.available_from_ms <= time_ms and (not item.available_until_ms or time_ms < item.available_until_ms)
