"""Popular and trending items as sources, and the lists behind them."""

from __future__ import annotations

import asyncio

import numpy as np

from services.candidate_generation.sources.popular import PopularSource
from services.candidate_generation.sources.trending import TrendingSource
from shared.domain.conditions import ItemFilter
from shared.domain.events import EventType
from shared.domain.items import Item
from shared.domain.user_state import TopItems, TopOrder
from tests.unit.candidate_generation.rooms import NOW_MS, Room, asked, history_of

ITEMS = [
    Item("hit", categories=("Pop",)),
    Item("second", categories=("Pop",)),
    Item("niche", categories=("Jazz",)),
    Item("small", categories=("Jazz",)),
    Item("unheard", categories=("Noise",)),
]
OVERALL = TopItems(("hit", "second", "gone", "niche"), (9.0, 8.0, 7.0, 2.0))
JAZZ = TopItems(("niche", "small"), (2.0, 1.0))


async def _room() -> Room:
    room = Room(*ITEMS)
    room.features.top = {
        (TopOrder.POPULAR, ""): OVERALL,
        (TopOrder.POPULAR, "Jazz"): JAZZ,
        (TopOrder.TRENDING, ""): TopItems(("unheard", "hit"), (3.0, 1.0)),
    }
    await room.lists.refresh()
    return room


async def test_the_most_popular_come_first_and_the_rest_of_the_catalogue_behind_them() -> None:
    room = await _room()

    answer = await PopularSource(room.lists).search(room.query(asked()), 10)

    assert room.ids(answer)[:3] == ["hit", "second", "niche"]
    assert sorted(room.ids(answer)[3:]) == ["small", "unheard"]
    assert np.all(np.diff(answer.scores) <= 0)


async def test_the_rest_is_ordered_by_last_known_count_and_then_by_age() -> None:
    room = Room()
    room.upsert(Item("old"), first_seen_ms=1)
    room.upsert(Item("new"), first_seen_ms=2)
    room.upsert(Item("liked"), popularity=3.0)

    answer = await PopularSource(room.lists).search(room.query(asked()), 2)

    assert room.ids(answer) == ["liked", "new"]


async def test_half_of_the_quota_goes_to_favourite_categories() -> None:
    room = await _room()
    jazz_lover = asked(history_of("small", "niche"))
    await PopularSource(room.lists).search(room.query(jazz_lover), 2)  # asks for the category's list
    await room.lists.refresh()

    answer = await PopularSource(room.lists).search(room.query(jazz_lover), 2)

    assert room.ids(answer) == ["hit", "niche"]


async def test_a_filter_that_leaves_three_of_many_gets_exactly_those() -> None:
    room = Room(*(Item(f"i{number}", categories=("rare",) if number % 4000 == 7 else ()) for number in range(12_000)))
    wanted = asked(filter=ItemFilter(include_categories=frozenset({"rare"})))

    answer = await PopularSource(room.lists).search(room.query(wanted), 30)

    assert sorted(room.ids(answer)) == ["i4007", "i7", "i8007"]


async def test_trending_gives_only_what_trends() -> None:
    room = await _room()

    answer = await TrendingSource(room.lists).search(room.query(asked()), 10)

    assert room.ids(answer) == ["unheard", "hit"]


async def test_lists_that_were_never_fetched_are_reported_stale_and_the_catalogue_answers() -> None:
    room = Room(*ITEMS)

    answer = await PopularSource(room.lists).search(room.query(asked()), 10)

    assert len(room.ids(answer)) == len(ITEMS)
    assert [(lost.stage, lost.reason) for lost in answer.degraded] == [("popular", "stale")]


async def test_a_feature_service_that_is_down_leaves_the_last_lists() -> None:
    room = await _room()
    room.features.fail()
    room.now_ms += 60_000
    await room.lists.refresh()

    answer = await TrendingSource(room.lists).search(room.query(asked()), 10)

    assert room.ids(answer) == ["unheard", "hit"]
    assert [(lost.stage, lost.reason) for lost in answer.degraded] == [("trending", "stale")]


async def test_a_categorys_list_is_fetched_once_asked_for_and_not_with_every_poll() -> None:
    room = await _room()
    room.lists.in_category(TopOrder.POPULAR, "Jazz")
    await room.lists.refresh()
    await room.lists.refresh()

    room.now_ms += 20_000
    await room.lists.refresh()

    assert room.features.top_calls.count((TopOrder.POPULAR, "Jazz")) == 2
    assert room.features.top_calls.count((TopOrder.POPULAR, "")) == 4


async def test_until_a_categorys_list_is_there_the_overall_list_stands_in() -> None:
    room = await _room()

    slots, scores = room.lists.in_category(TopOrder.POPULAR, "Jazz")

    assert room.catalogue.item_ids(slots) == ("niche",)
    assert scores.tolist() == [2.0]


async def test_dislikes_speak_against_a_category() -> None:
    room = await _room()
    disliked = room.query(asked(history_of("small", "niche", kind=EventType.DISLIKE)))
    liked = room.query(asked(history_of("small", "niche")))

    assert disliked.favourites == ()
    assert liked.favourites == ("Jazz",)


async def test_time_does_not_run_in_the_list_of_a_fixed_clock() -> None:
    room = await _room()

    assert not room.lists.stale()
    assert room.now_ms == NOW_MS


async def test_requests_go_between_two_lists_of_a_feature_service_that_never_waits() -> None:
    room = await _room()
    before = len(room.features.top_calls)

    refreshing = asyncio.ensure_future(room.lists.refresh())
    asked_in_between = []
    while not refreshing.done():
        await asyncio.sleep(0)
        asked_in_between.append(len(room.features.top_calls) - before)

    assert asked_in_between[0] == 1
    assert asked_in_between[-1] == 2
