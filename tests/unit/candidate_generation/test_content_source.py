"""Likeness of content to the latest of a history as a source."""

from __future__ import annotations

from services.candidate_generation.sources.content import ContentSource
from shared.domain.conditions import ItemFilter
from shared.domain.events import EventType
from shared.domain.items import Item
from tests.unit.candidate_generation.rooms import Room, asked, history_of

ITEMS = [
    Item("heat", categories=("crime",), tags=("heist",)),
    Item("ronin", categories=("crime",), tags=("heist",)),
    Item("jaws", categories=("crime",), tags=("shark",)),
    Item("love", categories=("romance",)),
]


async def test_what_shares_more_with_the_latest_items_comes_first_and_they_themselves_never() -> None:
    room = Room(*ITEMS)

    answer = await ContentSource().search(room.query(asked(history_of("heat"))), 10)

    assert room.ids(answer) == ["ronin", "jaws"]
    assert answer.scores[0] > answer.scores[1]


async def test_what_was_disliked_or_is_not_in_the_catalogue_speaks_for_nothing() -> None:
    room = Room(*ITEMS)
    disliked = history_of("heat", kind=EventType.DISLIKE)

    assert room.ids(await ContentSource().search(room.query(asked(disliked)), 10)) == []
    assert room.ids(await ContentSource().search(room.query(asked(history_of("gone"))), 10)) == []


async def test_filters_and_the_quota_hold() -> None:
    room = Room(*ITEMS)
    wanted = ItemFilter(exclude_item_ids=frozenset({"ronin"}))

    assert room.ids(await ContentSource().search(room.query(asked(history_of("heat"))), 1)) == ["ronin"]
    assert room.ids(await ContentSource().search(room.query(asked(history_of("heat"), filter=wanted)), 5)) == ["jaws"]


async def test_without_a_history_it_is_not_asked() -> None:
    assert not ContentSource().applies(Room(*ITEMS).query(asked()))
