"""What `Features` promises, asked in the same process and over gRPC from a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from services.feature.app import FeatureApp
from shared.clients.features import GrpcFeatures
from shared.domain.event_log import Fact, ItemDeletion
from shared.domain.events import EventType
from shared.domain.items import ContentVector, Item, User
from shared.domain.services import Features
from shared.domain.user_state import ItemChanges, ItemStatus, TopOrder, UserState
from shared.domain.watermark import Watermark
from shared.kernel.client import open_channel
from shared.kernel.errors import ServiceError
from shared.kernel.server import GrpcServer
from tests.fakes import MemoryLog
from tests.unit.feature.world import DAY_MS, ENOUGH_MS, NOW_MS, catalogue_of, clock, event, running, slate


@dataclass(frozen=True)
class World:
    """A log, the service behind it, and the port to it."""

    log: MemoryLog
    app: FeatureApp
    features: Features

    async def record(self, *facts: Fact) -> Watermark:
        """Append facts and wait until they show."""
        position = await self.log.append(facts)
        await self.state("nobody", position)
        return position

    async def state(self, user_id: str, at: Watermark | None = None, history_limit: int = 200) -> UserState:
        """A user's state at or behind a position."""
        return await self.features.user_state(
            user_id, at or Watermark(), history_limit=history_limit, budget_ms=ENOUGH_MS
        )


@asynccontextmanager
async def over_grpc(app: FeatureApp) -> AsyncIterator[Features]:
    async with GrpcServer("127.0.0.1:0", [app.hosted]) as server, open_channel(server.address) as channel:
        yield GrpcFeatures(channel)


@pytest.fixture(params=["in-process", "grpc"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    log = MemoryLog(clock)
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(running(tmp_path, log))
        features = app.features
        if request.param == "grpc":
            features = await stack.enter_async_context(over_grpc(app))
        yield World(log, app, features)


async def first_run(changes: AsyncIterator[ItemChanges]) -> list[ItemChanges]:
    """Messages up to the one that says caught up."""
    messages = []
    async for message in changes:
        messages.append(message)
        if message.caught_up:
            break
    return messages


async def test_an_unknown_user_has_an_empty_state(world: World) -> None:
    state = await world.state("nobody")

    assert (state.user_id, len(state.history), state.profile, state.stale) == ("nobody", 0, None, False)
    assert state.consumed_item_ids == frozenset()
    assert state.event_counts == {}


async def test_a_write_is_read_at_its_watermark(world: World) -> None:
    position = await world.log.append([event("anna", "i1")])

    state = await world.state("anna", position)

    assert state.history.item_ids == ("i1",)
    assert Watermark.parse(state.watermark).covers(position)
    assert not state.stale


async def test_a_position_that_does_not_come_gives_a_stale_answer(world: World) -> None:
    await world.record(event("anna", "i1"))

    state = await world.features.user_state("anna", Watermark.of(10**6), history_limit=10, budget_ms=50)

    assert state.stale
    assert state.history.item_ids == ("i1",)


async def test_a_reader_who_waits_sees_the_write_that_comes_meanwhile(world: World) -> None:
    reading = asyncio.create_task(world.state("anna", Watermark.of(1)))
    await asyncio.sleep(0)  # the reader asks before there is anything
    await world.log.append([event("anna", "i1")])

    assert (await reading).history.item_ids == ("i1",)


async def test_history_is_in_event_time_order_with_ties_in_log_order(world: World) -> None:
    times = {"late": NOW_MS - 5, "first": NOW_MS - 9, "tied-1": NOW_MS - 7, "tied-2": NOW_MS - 7}
    order = ("first", "tied-1", "late", "tied-2")

    await world.record(*(event("anna", name, at_ms=times[name]) for name in order))

    state = await world.state("anna")
    assert state.history.item_ids == ("first", "tied-1", "tied-2", "late")
    assert state.history.times_ms.tolist() == sorted(times.values())


async def test_history_carries_kinds_values_and_ids(world: World) -> None:
    rating = event("anna", "i1", EventType.RATING, event_id="e-rating")
    rating = type(rating)(rating.event_id, "anna", "i1", EventType.RATING, NOW_MS, 4.5)

    await world.record(rating, event("anna", "i2", EventType.VIEW, event_id="e-view"))

    history = (await world.state("anna")).history
    assert history.event_types.tolist() == [EventType.RATING, EventType.VIEW]
    assert history.values[0] == np.float32(4.5)
    assert np.isnan(history.values[1])
    assert history.event_ids == ("e-rating", "e-view")


async def test_the_history_is_cut_but_consumed_items_are_not(world: World) -> None:
    await world.record(*(event("anna", f"i{n}") for n in range(30)))

    state = await world.state("anna", history_limit=4)

    assert state.history.item_ids == ("i26", "i27", "i28", "i29")
    assert state.consumed_item_ids == {f"i{n}" for n in range(30)}


async def test_an_impression_is_counted_and_consumes_nothing(world: World) -> None:
    await world.record(event("anna", "i1", EventType.IMPRESSION), event("anna", "i2"))

    state = await world.state("anna")
    assert state.history.item_ids == ("i2",)
    assert state.consumed_item_ids == {"i2"}
    assert state.event_counts == {EventType.IMPRESSION: 1, EventType.CLICK: 1}


async def test_a_kind_of_the_future_is_counted_and_shows_nowhere_else(world: World) -> None:
    future = event("anna", "i1")
    await world.record(type(future)("e-future", "anna", "i1", 77, NOW_MS))

    state = await world.state("anna")
    assert state.event_counts == {77: 1}
    assert len(state.history) == 0


async def test_a_hidden_item_is_hidden(world: World) -> None:
    await world.record(event("anna", "i1", EventType.HIDE))

    assert (await world.state("anna")).hidden_item_ids == {"i1"}


async def test_followed_ids_come_latest_first(world: World) -> None:
    follows = [("a", 1), ("b", 3), ("c", 2), ("a", 4)]
    await world.record(*(_follow(target, NOW_MS + at) for target, at in follows))

    assert (await world.state("anna")).followed_ids == ("a", "b", "c")


async def test_served_items_come_latest_first_each_once(world: World) -> None:
    await world.record(
        slate("anna", ["i1", "i2"], at_ms=NOW_MS - 2), slate("anna", ["i3", "i1"], at_ms=NOW_MS - 1), slate("", ["i9"])
    )

    assert (await world.state("anna")).served_item_ids == ("i3", "i1", "i2")


async def test_served_items_of_yesterday_are_forgotten(world: World) -> None:
    await world.record(slate("anna", ["old"], at_ms=NOW_MS - DAY_MS - 1), slate("anna", ["new"]))

    assert (await world.state("anna")).served_item_ids == ("new",)


async def test_the_last_profile_stands(world: World) -> None:
    await world.record(User("anna", ("jazz",), {"age": 3.0}), User("anna", ("rock",), {"vip": True}))

    assert (await world.state("anna")).profile == User("anna", ("rock",), {"vip": True})


async def test_category_affinities_are_shares_of_the_known_events(world: World) -> None:
    await world.record(*catalogue_of(3), event("anna", "i0"), event("anna", "i0"), event("anna", "i1"))

    assert (await world.state("anna")).category_affinities == pytest.approx({"c0": 2 / 3, "c1": 1 / 3})


async def test_older_events_weigh_less_in_the_affinities(world: World) -> None:
    await world.record(*catalogue_of(2), event("anna", "i0", at_ms=NOW_MS - 30 * DAY_MS), event("anna", "i1"))

    assert (await world.state("anna")).category_affinities == pytest.approx({"c0": 1 / 3, "c1": 2 / 3})


async def test_an_event_about_an_unknown_item_becomes_useful_when_the_item_arrives(world: World) -> None:
    await world.record(event("anna", "i0"))
    before = await world.state("anna")

    await world.record(Item("i0", categories=("c0",)))

    assert before.category_affinities == {}
    assert (await world.state("anna")).category_affinities == {"c0": 1.0}
    (state,) = await world.features.items(["i0"])
    assert (state.status, state.popularity) == (ItemStatus.PRESENT, 1.0)
    assert (await world.features.top_items(TopOrder.POPULAR)).item_ids == ("i0",)


async def test_items_come_in_request_order_with_repeats_and_unknown_ones(world: World) -> None:
    await world.record(*catalogue_of(2))

    states = await world.features.items(["i1", "nope", "i0", "i1"])

    assert [state.item_id for state in states] == ["i1", "nope", "i0", "i1"]
    assert [state.status for state in states] == [
        ItemStatus.PRESENT,
        ItemStatus.NOT_FOUND,
        ItemStatus.PRESENT,
        ItemStatus.PRESENT,
    ]
    assert states[0].item is not None
    assert states[0].item.title == "title 1"


async def test_no_items_asked_are_no_items_answered(world: World) -> None:
    assert await world.features.items([]) == ()


async def test_vectors_come_when_they_are_asked_for(world: World) -> None:
    vector = ContentVector("text", "encoder-1", "hash", np.array([1.0, 2.0], np.float32))
    await world.record(Item("i0", vectors=(vector,)))

    (state,) = await world.features.items(["i0"], include_vectors=True)

    assert state.item is not None
    assert state.item.vectors[0].values.tolist() == [1.0, 2.0]


async def test_an_item_without_a_created_time_was_created_at_its_first_upsert(world: World) -> None:
    await world.record(Item("i0"), Item("i1", created_ms=5_000), Item("i0", title="again"))

    unset, given = await world.features.items(["i0", "i1"])

    assert unset.item is not None
    assert given.item is not None
    assert (unset.item.title, unset.item.created_ms, unset.first_seen_ms) == ("again", NOW_MS, NOW_MS)
    assert given.item.created_ms == 5_000


async def test_an_upsert_and_a_deletion_keep_the_statistics(world: World) -> None:
    await world.record(Item("i0"), event("anna", "i0"))
    await world.record(ItemDeletion("i0"))
    (deleted,) = await world.features.items(["i0"])

    position = await world.record(Item("i0", title="back"))

    (back,) = await world.features.items(["i0"])
    assert (deleted.status, deleted.item, deleted.popularity) == (ItemStatus.DELETED, None, 1.0)
    assert (back.status, back.popularity, back.updated_watermark) == (ItemStatus.PRESENT, 1.0, str(position))


async def test_popularity_halves_in_a_week_and_trend_in_a_day(world: World) -> None:
    await world.record(event("anna", "week", at_ms=NOW_MS - 7 * DAY_MS), event("anna", "day", at_ms=NOW_MS - DAY_MS))
    await world.record(event("anna", "now"))

    week, day, now = await world.features.items(["week", "day", "now"])

    assert (week.popularity, day.trend, now.popularity, now.trend) == (0.5, 0.5, 1.0, 1.0)


async def test_lists_are_ordered_by_their_own_count_and_equal_items_by_id(world: World) -> None:
    old = [event("anna", "i1", at_ms=NOW_MS - 3 * DAY_MS) for _ in range(4)]
    await world.record(*catalogue_of(4), *old, event("anna", "i3"), event("ben", "i2"))

    popular = await world.features.top_items(TopOrder.POPULAR)
    trending = await world.features.top_items(TopOrder.TRENDING)

    assert popular.item_ids == ("i1", "i2", "i3")
    assert trending.item_ids == ("i2", "i3", "i1")
    assert trending.scores == (1.0, 1.0, 0.5)
    assert popular.watermark == (await world.features.status()).watermark


async def test_a_list_of_a_category_holds_only_its_items(world: World) -> None:
    await world.record(*catalogue_of(6), *(event("anna", f"i{n}") for n in range(6)))

    assert (await world.features.top_items(TopOrder.POPULAR, category="c1")).item_ids == ("i1", "i4")
    assert (await world.features.top_items(TopOrder.POPULAR, category="none")).item_ids == ()


async def test_lists_hold_what_is_available_now_only(world: World) -> None:
    over = Item("over", available_until_ms=NOW_MS)
    soon = Item("soon", available_from_ms=NOW_MS + 1)
    here = Item("here", available_from_ms=NOW_MS, available_until_ms=NOW_MS + 1)
    gone = Item("gone")
    names = ("over", "soon", "here", "gone", "never-upserted")
    await world.record(over, soon, here, gone, ItemDeletion("gone"), *(event("anna", name) for name in names))

    assert (await world.features.top_items(TopOrder.POPULAR, limit=1)).item_ids == ("here",)


async def test_a_list_is_cut_at_its_limit(world: World) -> None:
    await world.record(*catalogue_of(9), *(event("anna", f"i{n}") for n in range(9)))

    assert (await world.features.top_items(TopOrder.TRENDING, limit=2)).item_ids == ("i0", "i1")


async def test_a_watcher_gets_the_catalogue_and_then_its_changes(world: World) -> None:
    await world.record(*catalogue_of(200), ItemDeletion("i7"))
    watching = world.features.watch_items(Watermark())
    messages = await first_run(watching)

    position = await world.record(Item("i3", title="new"), ItemDeletion("i4"))
    change = await anext(watching)

    ids = [state.item_id for message in messages for state in message.upserted]
    assert sorted(ids) == sorted(f"i{n}" for n in range(200) if n != 7)
    assert [message.caught_up for message in messages] == [False] * (len(messages) - 1) + [True]
    assert [state.item.title for state in change.upserted if state.item] == ["new"]
    assert change.deleted_item_ids == ("i4",)
    assert change.watermark == str(position)


async def test_a_watcher_that_comes_back_gets_only_what_it_missed(world: World) -> None:
    await world.record(*catalogue_of(3))
    (message,) = await first_run(world.features.watch_items(Watermark()))
    await world.record(Item("i1", title="missed"), ItemDeletion("i2"), event("anna", "i0"))

    (missed,) = await first_run(world.features.watch_items(Watermark.parse(message.watermark)))

    assert [state.item_id for state in missed.upserted] == ["i1"]
    assert missed.deleted_item_ids == ("i2",)


async def test_a_watcher_cut_off_in_the_middle_goes_on_from_there(world: World) -> None:
    await world.record(*catalogue_of(500))
    seen: set[str] = set()
    watermark, rounds = Watermark(), 0

    caught_up = False
    while not caught_up:
        message = await anext(world.features.watch_items(watermark))
        watermark, caught_up, rounds = Watermark.parse(message.watermark), message.caught_up, rounds + 1
        assert not seen.intersection(state.item_id for state in message.upserted)
        seen.update(state.item_id for state in message.upserted)

    assert seen == {f"i{n}" for n in range(500)}
    assert rounds > 1


async def test_an_item_that_changes_often_reaches_a_slow_watcher_once(world: World) -> None:
    await world.record(Item("i0"))
    watching = world.features.watch_items(Watermark())
    await first_run(watching)
    following = asyncio.ensure_future(anext(watching))

    await world.log.append([Item("i0", title=f"version {n}") for n in range(50)])

    change = await following
    assert [state.item.title for state in change.upserted if state.item] == ["version 49"]


async def test_watching_from_a_position_that_the_log_never_had_is_refused(world: World) -> None:
    with pytest.raises(ServiceError) as caught:
        await anext(world.features.watch_items(Watermark.of(10**6)))

    assert caught.value.reason.name == "WATERMARK_INVALID"


async def test_the_status_says_how_far_the_projection_is(world: World) -> None:
    position = await world.record(*catalogue_of(4), ItemDeletion("i0"), event("anna", "i1"), event("ben", "i2"))

    status = await world.features.status()

    assert (status.watermark, status.head_watermark) == (str(position), str(position))
    assert (status.users, status.items, status.applied_records, status.applied_ms) == (2, 3, 7, NOW_MS)
    assert status.caught_up


async def test_an_erased_user_is_unknown_again(world: World) -> None:
    await world.record(
        Item("i0"), event("anna", "i0"), slate("anna", ["i0"]), User("anna", ("jazz",)), event("ben", "i0")
    )

    await world.log.erase("anna")
    await world.record()

    state = await world.state("anna")
    assert (len(state.history), state.served_item_ids, state.profile, state.event_counts) == (0, (), None, {})
    (item,) = await world.features.items(["i0"])
    assert item.popularity == 1.0
    assert (await world.features.status()).users == 1


async def test_events_after_an_erasure_begin_a_new_life(world: World) -> None:
    await world.record(event("anna", "old"))
    await world.log.erase("anna")

    await world.record(event("anna", "new"))

    assert (await world.state("anna")).history.item_ids == ("new",)


def _follow(target_id: str, at_ms: int) -> Fact:
    follow = event("anna", "", EventType.FOLLOW, at_ms=at_ms)
    return type(follow)(follow.event_id, "anna", "", EventType.FOLLOW, at_ms, target_id=target_id)
