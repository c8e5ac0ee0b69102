"""Filters as masks: exactly what the domain's own rule says, item by item."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.conditions import AttributeCondition, Comparison, ItemFilter
from shared.domain.items import Item
from tests.unit.candidate_generation.rooms import NOW_MS, Room

_NAMES = [f"i{number}" for number in range(8)]
_SCALARS = st.one_of(st.sampled_from(["", "a", "b"]), st.sampled_from([0.0, 1.0, 2.5]), st.booleans())
_MOMENTS = st.sampled_from([0, NOW_MS - 10, NOW_MS, NOW_MS + 10])

_items = st.builds(
    Item,
    st.sampled_from(_NAMES),
    categories=st.lists(st.sampled_from("abc"), max_size=2).map(tuple),
    attributes=st.dictionaries(st.sampled_from(["p", "q"]), _SCALARS, max_size=2),
    available_from_ms=_MOMENTS,
    available_until_ms=_MOMENTS,
)
_conditions = st.builds(
    AttributeCondition,
    st.sampled_from(["p", "q", "nobody-has-it"]),
    st.sampled_from(Comparison),
    st.lists(_SCALARS, min_size=1, max_size=3).map(tuple),
)
_categories = st.frozensets(st.sampled_from(["a", "b", "unknown"]), max_size=2)
_filters = st.builds(
    ItemFilter,
    _categories,
    _categories,
    st.frozensets(st.sampled_from([*_NAMES, "unknown"]), max_size=4),
    st.lists(_conditions, max_size=2).map(tuple),
)


def _allowed(room: Room, wanted: ItemFilter, time_ms: int) -> set[str]:
    slots = room.masks.eligible(wanted, time_ms).mask.nonzero()[0]
    return set(room.catalogue.item_ids(slots))


@given(st.lists(_items, max_size=12), st.lists(_filters, min_size=1, max_size=4), _MOMENTS)
def test_a_mask_lets_through_what_the_domain_allows(items: list[Item], wanted: list[ItemFilter], time_ms: int) -> None:
    room = Room(*items)
    latest = {item.item_id: item for item in items}

    for each in wanted:
        expected = {name for name, item in latest.items() if each.allows(item, time_ms)}
        assert _allowed(room, each, time_ms) == expected
        assert room.masks.eligible(each, time_ms).count == len(expected)


@given(st.lists(_items, max_size=8), st.lists(_items, max_size=8), st.lists(st.sampled_from(_NAMES)), _filters)
def test_a_mask_follows_every_change_of_the_catalogue(
    first: list[Item], later: list[Item], gone: list[str], wanted: ItemFilter
) -> None:
    room = Room(*first)
    _allowed(room, wanted, NOW_MS)
    room.upsert(*later)
    room.delete(*gone)

    latest = {item.item_id: item for item in [*first, *later] if item.item_id not in gone}
    assert _allowed(room, wanted, NOW_MS) == {n for n, item in latest.items() if wanted.allows(item, NOW_MS)}


def test_a_window_that_opens_and_closes_is_noticed_without_a_change_of_the_catalogue() -> None:
    room = Room(Item("now-only", available_from_ms=NOW_MS, available_until_ms=NOW_MS + 10), Item("always"))

    allowed = [_allowed(room, ItemFilter(), moment) for moment in (NOW_MS - 1, NOW_MS, NOW_MS + 9, NOW_MS + 10)]

    assert allowed == [{"always"}, {"always", "now-only"}, {"always", "now-only"}, {"always"}]


def test_true_and_one_are_different_conditions() -> None:
    room = Room(Item("truth", attributes={"p": True}), Item("number", attributes={"p": 1.0}))

    by_truth = _allowed(room, ItemFilter(conditions=(AttributeCondition("p", Comparison.EQUAL, (True,)),)), NOW_MS)
    by_number = _allowed(room, ItemFilter(conditions=(AttributeCondition("p", Comparison.EQUAL, (1.0,)),)), NOW_MS)

    assert (by_truth, by_number) == ({"truth"}, {"number"})


def test_excluded_ids_of_one_request_do_not_reach_the_next() -> None:
    room = Room(Item("a"), Item("b"))

    first = _allowed(room, ItemFilter(exclude_item_ids=frozenset({"a"})), NOW_MS)
    second = _allowed(room, ItemFilter(), NOW_MS)

    assert (first, second) == ({"b"}, {"a", "b"})


def test_twenty_thousand_excluded_ids_are_just_left_out() -> None:
    room = Room(*(Item(f"i{number}") for number in range(30)))
    excluded = frozenset(f"i{number}" for number in range(10, 20_010))

    assert _allowed(room, ItemFilter(exclude_item_ids=excluded), NOW_MS) == {f"i{number}" for number in range(10)}


def test_an_attribute_that_is_filtered_by_for_the_first_time_after_a_deletion_knows_the_living_only() -> None:
    room = Room(Item("a", attributes={"p": 1.0}), Item("b", attributes={"p": 1.0}))
    room.delete("a")

    wanted = ItemFilter(conditions=(AttributeCondition("p", Comparison.NOT_EQUAL, (2.0,)),))

    assert _allowed(room, wanted, NOW_MS) == {"b"}


def test_more_attributes_than_columns_are_kept_still_filter_right() -> None:
    names = [f"p{number}" for number in range(80)]
    room = Room(Item("a", attributes=dict.fromkeys(names, 1.0)), Item("b"))

    allowed = [
        _allowed(room, ItemFilter(conditions=(AttributeCondition(name, Comparison.EQUAL, (1.0,)),)), NOW_MS)
        for name in [*names, *names]
    ]

    assert all(found == {"a"} for found in allowed)
