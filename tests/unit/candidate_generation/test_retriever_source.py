"""The learned retriever as a source."""

from __future__ import annotations

import pytest

from services.candidate_generation.sources.retriever import RetrieverSource
from shared.domain.conditions import ItemFilter
from shared.domain.items import Item
from tests.unit.candidate_generation.rooms import Room, asked, history_of, parts_of

HORROR = [Item(f"h{number}", categories=("Horror",)) for number in range(5)]
COMEDY = [Item(f"c{number}", categories=("Comedy",)) for number in range(5)]


@pytest.mark.parametrize("exact", [True, False])
async def test_items_like_the_history_come_first(exact: bool) -> None:
    room = Room(*HORROR, *COMEDY)
    await room.load(parts_of([*HORROR, *COMEDY], exact=exact))

    answer = await RetrieverSource().search(room.query(asked(history_of("h1"))), 5)

    assert {item_id[0] for item_id in room.ids(answer)} == {"h"}
    assert answer.scores.tolist() == sorted(answer.scores.tolist(), reverse=True)


async def test_an_empty_history_is_answered_too() -> None:
    room = Room(*HORROR)
    await room.load(parts_of(HORROR))

    answer = await RetrieverSource().search(room.query(asked()), 3)

    assert len(room.ids(answer)) == 3


async def test_a_history_of_an_item_that_is_newer_than_the_bundle_speaks_by_its_content() -> None:
    room = Room(*HORROR, *COMEDY, Item("new", categories=("Comedy",)))
    await room.load(parts_of([*HORROR, *COMEDY]))

    answer = await RetrieverSource().search(room.query(asked(history_of("new"))), 5)

    assert {item_id[0] for item_id in room.ids(answer)} <= {"c", "n"}


async def test_items_of_the_bundle_that_the_catalogue_does_not_hold_never_come() -> None:
    room = Room(*COMEDY)
    await room.load(parts_of([*HORROR, *COMEDY]))

    answer = await RetrieverSource().search(room.query(asked(history_of("h1"))), 10)

    assert sorted(room.ids(answer)) == [item.item_id for item in COMEDY]


async def test_a_filter_is_filled_up() -> None:
    room = Room(*HORROR, *COMEDY)
    await room.load(parts_of([*HORROR, *COMEDY]))
    wanted = ItemFilter(include_categories=frozenset({"Comedy"}), exclude_item_ids=frozenset({"c0"}))

    answer = await RetrieverSource().search(room.query(asked(history_of("h1"), filter=wanted)), 10)

    assert sorted(room.ids(answer)) == ["c1", "c2", "c3", "c4"]


async def test_without_a_bundle_it_says_so() -> None:
    answer = await RetrieverSource().search(Room(*HORROR).query(asked()), 3)

    assert [(lost.stage, lost.reason) for lost in answer.degraded] == [("retriever", "no-bundle")]


async def test_when_nothing_is_eligible_the_answer_is_empty() -> None:
    room = Room()
    await room.load(parts_of(HORROR))

    answer = await RetrieverSource().search(room.query(asked(history_of("h1"))), 3)

    assert room.ids(answer) == []
