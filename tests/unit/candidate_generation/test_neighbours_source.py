"""Recent-item neighbours as a source."""

from __future__ import annotations

from typing import Any

from services.candidate_generation.sources.neighbours import NeighboursSource
from shared.domain.conditions import ItemFilter
from shared.domain.items import Item
from tests.unit.candidate_generation.rooms import Room, asked, history_of, parts_of

ITEMS = [Item(item_id) for item_id in "abcdef"]
SEQUENCES = [["a", "b", "c"], ["a", "b", "d"], ["a", "b", "e"], ["f", "c"]]


async def _answered(room: Room, *history: str, quota: int = 3, **fields: Any) -> list[str]:
    return room.ids(await NeighboursSource().search(room.query(asked(history_of(*history), **fields)), quota))


async def test_what_others_went_on_to_comes_first() -> None:
    room = Room(*ITEMS)
    await room.load(parts_of(ITEMS, SEQUENCES))

    assert (await _answered(room, "a"))[0] == "b"


async def test_the_latest_event_counts_most() -> None:
    room = Room(*ITEMS)
    await room.load(parts_of(ITEMS, [["a", "b"], ["f", "c"]]))

    assert (await _answered(room, "a", "f"))[0] == "c"
    assert (await _answered(room, "f", "a"))[0] == "b"


async def test_a_filter_is_filled_up_from_further_down() -> None:
    items = [Item(f"i{number}") for number in range(40)]
    room = Room(*items)
    await room.load(parts_of(items, [["i0", f"i{number}"] for number in range(1, 40) for _ in range(41 - number)]))
    excluded = ItemFilter(exclude_item_ids=frozenset(f"i{number}" for number in range(1, 37)))

    assert sorted(await _answered(room, "i0", filter=excluded, quota=2)) == ["i37", "i38"]


async def test_items_that_left_the_catalogue_neither_come_nor_hide_others() -> None:
    room = Room(*ITEMS)
    engine = await room.load(parts_of(ITEMS, SEQUENCES))
    room.delete("b")
    await engine.follow(room.catalogue)

    assert sorted(await _answered(room, "a")) == ["c", "d", "e"]


async def test_a_history_of_unknown_items_gives_nothing() -> None:
    room = Room(*ITEMS)
    await room.load(parts_of(ITEMS, SEQUENCES))

    assert await _answered(room, "who", "knows") == []


async def test_without_a_history_it_is_not_asked_and_without_a_bundle_it_says_so() -> None:
    room = Room(*ITEMS)
    source = NeighboursSource()

    answer = await source.search(room.query(asked(history_of("a"))), 3)

    assert not source.applies(room.query(asked()))
    assert source.applies(room.query(asked(history_of("a"))))
    assert [(lost.stage, lost.reason) for lost in answer.degraded] == [("neighbours", "no-bundle")]
