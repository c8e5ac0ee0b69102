"""Item-to-item retrieval as a source."""

from __future__ import annotations

from typing import Any

from services.candidate_generation.sources.similar import SimilarSource
from shared.domain.conditions import ItemFilter
from shared.domain.items import Item
from tests.unit.candidate_generation.rooms import Room, asked, parts_of

HORROR = [Item(f"h{number}", categories=("Horror",), tags=("dark",)) for number in range(6)]
COMEDY = [Item(f"c{number}", categories=("Comedy",)) for number in range(6)]
ITEMS = [*HORROR, *COMEDY]


async def _similar(room: Room, *seeds: str, quota: int = 5, **fields: Any) -> list[str]:
    return room.ids(await SimilarSource().search(room.query(asked(seed_item_ids=seeds, **fields)), quota))


async def test_near_items_come_and_the_seed_does_not() -> None:
    room = Room(*ITEMS)
    await room.load(parts_of(ITEMS))

    found = await _similar(room, "h0")

    assert sorted(found) == ["h1", "h2", "h3", "h4", "h5"]


async def test_what_users_went_on_to_comes_too() -> None:
    room = Room(*ITEMS)
    await room.load(parts_of(ITEMS, [["h0", "c3"]] * 5))

    assert "c3" in await _similar(room, "h0", quota=4)


async def test_a_seed_newer_than_the_bundle_is_compared_by_content() -> None:
    room = Room(*ITEMS, Item("new", categories=("Comedy",)))
    await room.load(parts_of(ITEMS))

    assert {item_id[0] for item_id in await _similar(room, "new")} == {"c"}


async def test_many_seeds_are_averaged_in_groups() -> None:
    room = Room(*ITEMS)
    await room.load(parts_of(ITEMS))

    found = await _similar(room, *(item.item_id for item in ITEMS[:11]))

    assert found == ["c5"]


async def test_unknown_seeds_are_passed_over() -> None:
    room = Room(*ITEMS)
    await room.load(parts_of(ITEMS))

    assert await _similar(room, "who", "knows") == []
    assert {item_id[0] for item_id in await _similar(room, "who", "h0")} == {"h"}


async def test_filters_hold_and_are_filled_up() -> None:
    room = Room(*ITEMS)
    await room.load(parts_of(ITEMS))

    found = await _similar(room, "h0", filter=ItemFilter(exclude_item_ids=frozenset({"h1", "h2", "h3"})))

    assert len(found) == 5
    assert {"h4", "h5"} <= set(found)


async def test_without_a_bundle_shared_categories_and_tags_decide_and_the_answer_says_so() -> None:
    room = Room(*ITEMS)

    answer = await SimilarSource().search(room.query(asked(seed_item_ids=("h0",))), 3)

    assert {item_id[0] for item_id in room.ids(answer)} == {"h"}
    assert "h0" not in room.ids(answer)
    assert [(lost.stage, lost.reason) for lost in answer.degraded] == [("similar", "no-bundle")]


def test_without_seeds_it_is_not_asked() -> None:
    assert not SimilarSource().applies(Room(*ITEMS).query(asked()))
