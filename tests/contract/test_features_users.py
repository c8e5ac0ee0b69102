"""What every port to user state promises, in process and by gRPC."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from shared.domain.event_log import Fact, ItemDeletion
from shared.domain.events import EventType
from shared.domain.freshness import FeatureStatus, UserFreshness
from shared.domain.items import Item, User
from shared.domain.user_state import ItemStatus, TopOrder
from shared.domain.watermark import Watermark
from tests.contract.features_adapters import World
from tests.unit.feature.world import DAY_MS, NOW_MS, catalogue_of, event, slate


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

    state = await world.features.user_state("anna", Watermark.of(10**6), history_limit=10, budget_ms=1_000)

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


async def test_a_hide_without_an_item_blocks_its_target_and_one_with_an_item_does_not(world: World) -> None:
    both = event("anna", "i1", EventType.HIDE)._replace(target_id="of-another")
    await world.record(_about("horror", EventType.HIDE, NOW_MS), both, _about("noise", EventType.FOLLOW, NOW_MS))

    state = await world.state("anna")
    assert (state.blocked_ids, state.hidden_item_ids, state.followed_ids) == ({"horror"}, {"i1"}, ("noise",))
    assert state.event_counts == {EventType.HIDE: 2, EventType.FOLLOW: 1}


async def test_every_feature_of_a_user_says_how_it_stands(world: World) -> None:
    await world.record(Item("i0", categories=("c",)), event("anna", "i0"))

    anna, nobody = await world.state("anna"), await world.state("nobody")

    present, missing = FeatureStatus.PRESENT, FeatureStatus.MISSING
    assert anna.freshness == UserFreshness(history=present, profile=missing, category_affinities=present)
    assert nobody.freshness == UserFreshness(history=missing, profile=missing, category_affinities=missing)


async def test_followed_ids_come_latest_first(world: World) -> None:
    follows = [("a", 1), ("b", 3), ("c", 2), ("a", 4)]
    await world.record(*(_about(target, EventType.FOLLOW, NOW_MS + at) for target, at in follows))

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


def _about(target_id: str, kind: EventType, at_ms: int) -> Fact:
    return event("anna", "", kind, at_ms=at_ms)._replace(target_id=target_id)
