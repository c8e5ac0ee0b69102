"""What may be recommended: typed conditions, categories, windows."""

from __future__ import annotations

import pytest

from shared.domain.conditions import EVERYTHING, AttributeCondition, Comparison, ItemFilter
from shared.domain.items import Item, Scalar

HEAT = Item("heat", categories=("Crime",), attributes={"year": 1995.0, "language": "en", "colour": True})


@pytest.mark.parametrize(
    ("name", "comparison", "operands", "holds"),
    [
        ("year", Comparison.GREATER, (1990.0,), True),
        ("year", Comparison.LESS, (1995.0,), False),
        ("year", Comparison.LESS_OR_EQUAL, (1995.0,), True),
        ("year", Comparison.IN, (1994.0, 1995.0), True),
        ("language", Comparison.EQUAL, ("en",), True),
        ("language", Comparison.NOT_IN, ("de", "fr"), True),
        ("language", Comparison.NOT_EQUAL, ("en",), False),
        ("colour", Comparison.EQUAL, (True,), True),
        ("year", Comparison.EQUAL, ("1995",), False),
        ("language", Comparison.LESS, ("z",), False),
        ("missing", Comparison.NOT_EQUAL, (1.0,), False),
        ("colour", Comparison.EQUAL, (1.0,), False),
    ],
)
def test_a_condition_compares_values_of_its_own_type_only(
    name: str, comparison: Comparison, operands: tuple[Scalar, ...], holds: bool
) -> None:
    assert AttributeCondition(name, comparison, operands).holds(HEAT) is holds


def test_a_window_opens_at_its_first_and_closes_before_its_last_moment() -> None:
    item = Item("i", available_from_ms=10, available_until_ms=20)

    assert [EVERYTHING.allows(item, time_ms) for time_ms in (9, 10, 19, 20)] == [False, True, True, False]


def test_every_part_of_a_filter_must_agree() -> None:
    assert ItemFilter(include_categories=frozenset({"Crime", "Drama"})).allows(HEAT, 1)
    assert not ItemFilter(include_categories=frozenset({"Drama"})).allows(HEAT, 1)
    assert not ItemFilter(exclude_categories=frozenset({"Crime"})).allows(HEAT, 1)
    assert not ItemFilter(exclude_item_ids=frozenset({"heat"})).allows(HEAT, 1)
