"""The catalogue's view: items at slots, whatever comes and goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.candidate_generation.catalogue import NOWHERE, Catalogue
from shared.domain.items import ContentVector, Item
from shared.domain.user_state import ItemState, ItemStatus
from tests.domain_strategies import rows
from tests.unit.candidate_generation.rooms import NOW_MS, Room

MINUTE_MS = 60_000

_items = st.builds(
    Item,
    st.sampled_from([f"i{number}" for number in range(6)]),
    title=st.sampled_from(["", "red fox", "red hen", "blue fox"]),
    categories=st.lists(st.sampled_from("abc"), max_size=2).map(tuple),
    tags=st.lists(st.sampled_from(["x", "y"]), max_size=2).map(tuple),
)
_steps = st.lists(st.one_of(_items, st.sampled_from([f"i{number}" for number in range(6)])), max_size=30)


def _played(steps: list[Item | str]) -> tuple[Room, dict[str, Item]]:
    room, expected = Room(), {}
    for step in steps:
        if isinstance(step, Item):
            room.upsert(step)
            expected[step.item_id] = step
        else:
            room.delete(step)
            expected.pop(step, None)
    return room, expected


@given(_steps)
def test_the_catalogue_holds_what_was_upserted_and_not_deleted_since(steps: list[Item | str]) -> None:
    room, expected = _played(steps)

    slots = room.catalogue.slots(list(expected))
    assert {room.catalogue.item(slot).item_id: room.catalogue.item(slot) for slot in slots.tolist()} == expected
    assert len(room.catalogue) == len(expected)
    assert sorted(room.catalogue.living_ids()) == sorted(expected)


@given(_steps)
def test_postings_list_exactly_the_items_that_carry_a_key(steps: list[Item | str]) -> None:
    room, expected = _played(steps)

    for category in "abc":
        listed = room.catalogue.categories.get(category).slots
        living = listed[room.catalogue.alive[listed]]
        found = sorted(room.catalogue.item_ids(living))
        assert found == sorted(name for name, item in expected.items() if category in item.categories)


def test_an_unknown_or_deleted_item_has_no_slot() -> None:
    room = Room(Item("a"), Item("b"))

    room.delete("a", "never-seen")

    assert room.catalogue.slots(["a", "b", "c"]).tolist() == [NOWHERE, 1, NOWHERE]
    assert room.catalogue.slot("a") == NOWHERE


def test_an_item_that_comes_back_gets_its_old_slot() -> None:
    room = Room(Item("a"), Item("b"))
    room.delete("a")

    room.upsert(Item("a", title="back"))

    assert room.catalogue.slot("a") == 0
    assert room.catalogue.item(0).title == "back"


def test_slots_of_items_long_gone_are_used_again_and_carry_nothing_of_the_old_item() -> None:
    room = Room(*(Item(f"old{number}", categories=("c",)) for number in range(2000)))
    room.delete(*(f"old{number}" for number in range(2000)))
    room.now_ms += MINUTE_MS
    room.delete("nothing-else")  # any later deletion sweeps

    room.upsert(*(Item(f"new{number}") for number in range(2000)))

    assert room.catalogue.size == 2000
    assert len(room.catalogue.categories.get("c")) == 0
    assert set(room.catalogue.item_ids(room.catalogue.slots(["new0", "new1999"]))) == {"new0", "new1999"}
    assert room.catalogue.slot("old7") == NOWHERE


def test_slots_of_items_gone_a_moment_ago_stay_empty_for_requests_under_way() -> None:
    room = Room(*(Item(f"old{number}") for number in range(2000)))
    room.delete(*(f"old{number}" for number in range(2000)))
    room.now_ms += MINUTE_MS - 1
    room.delete("nothing-else")

    room.upsert(Item("new"))

    assert room.catalogue.slot("new") == 2000


def test_only_changed_content_counts_as_a_new_version() -> None:
    room = Room(Item("a", title="one"), Item("b", title="two"))
    before = room.catalogue.content_versions.copy()

    room.upsert(Item("a", title="one", available_until_ms=NOW_MS), Item("b", title="three"))

    changed = room.catalogue.content_versions > before
    assert changed.tolist() == [False, True]


@given(rows(3), rows(3))
def test_a_vector_without_a_hash_is_compared_by_its_values(first: list[float], second: list[float]) -> None:
    def item(values: list[float]) -> Item:
        return Item("a", vectors=(ContentVector("text", "encoder", "", values),))  # type: ignore[arg-type]  # an array

    room = Room(item(first))
    before = room.catalogue.content_versions.copy()

    room.upsert(item(second))

    assert bool((room.catalogue.content_versions > before)[0]) == (first.tobytes() != second.tobytes())  # type: ignore[attr-defined]  # an array


def test_a_state_without_content_is_passed_over() -> None:
    catalogue = Catalogue()

    catalogue.upsert([ItemState("a", ItemStatus.NOT_FOUND)])

    assert len(catalogue) == 0
