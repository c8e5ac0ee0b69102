"""What every port to items and top lists promises, in process and by gRPC."""

from __future__ import annotations

import numpy as np
import pytest

from shared.domain.attributes import AttributeKind, AttributeUse
from shared.domain.event_log import ItemDeletion
from shared.domain.freshness import FeatureStatus, ItemFreshness
from shared.domain.items import ContentVector, Item
from shared.domain.user_state import ItemStatus, TopOrder
from shared.kernel.errors import ServiceError
from tests.contract.features_adapters import World
from tests.unit.feature.world import DAY_MS, MINUTE_MS, NOW_MS, catalogue_of, event, slate

HOUR_MS = 60 * MINUTE_MS


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


async def test_every_feature_of_an_item_says_how_it_stands(world: World) -> None:
    vector = ContentVector("text", "encoder-1", "hash", np.ones(3, np.float32))
    await world.record(Item("i0", vectors=(vector,)), event("anna", "i1"))

    present, missing = FeatureStatus.PRESENT, FeatureStatus.MISSING
    assert [state.freshness for state in await world.features.items(["i0", "i1", "never"])] == [
        ItemFreshness(content=present, counts=missing, vectors=present),
        ItemFreshness(content=missing, counts=present, vectors=missing),
        ItemFreshness(content=missing, counts=missing, vectors=missing),
    ]


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


async def test_every_window_halves_an_event_in_its_own_time(world: World) -> None:
    ages = {"hour": HOUR_MS, "day": DAY_MS, "week": 7 * DAY_MS, "month": 30 * DAY_MS}
    await world.record(event("anna", "now"), *(event("anna", name, at_ms=NOW_MS - age) for name, age in ages.items()))

    hour, day, week, month = await world.features.items(list(ages))

    assert (hour.hourly, day.trend, week.popularity, month.monthly) == (0.5, 0.5, 0.5, 0.5)
    assert (day.hourly, week.trend) == (2.0**-24, 2.0**-7)


async def test_each_window_has_its_list_over_all_and_by_category(world: World) -> None:
    lasting = [event("anna", "i1", at_ms=NOW_MS - 10 * DAY_MS) for _ in range(20)]
    rising = [event("anna", "i4", at_ms=NOW_MS - DAY_MS) for _ in range(8)]
    await world.record(*catalogue_of(6), *lasting, *rising, event("ben", "i0"), event("ben", "i1", at_ms=NOW_MS))

    lists = {order: await world.features.top_items(order) for order in TopOrder}
    in_c1 = {order: await world.features.top_items(order, category="c1") for order in TopOrder}

    assert lists[TopOrder.HOURLY].item_ids == ("i0", "i1", "i4")
    assert lists[TopOrder.TRENDING].item_ids == ("i4", "i1", "i0")
    assert lists[TopOrder.MONTHLY].item_ids == ("i1", "i4", "i0")
    assert {order: found.item_ids for order, found in in_c1.items()} == {
        TopOrder.HOURLY: ("i1", "i4"),
        TopOrder.TRENDING: ("i4", "i1"),
        TopOrder.POPULAR: ("i1", "i4"),
        TopOrder.MONTHLY: ("i1", "i4"),
    }


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


async def test_a_list_is_read_on_page_by_page_to_its_end_each_item_once(world: World) -> None:
    gone = Item("i3", categories=("c0",), available_until_ms=NOW_MS)
    twice = [event("ben", f"i{number}") for number in (2, 5)]
    await world.record(*catalogue_of(8), gone, *(event("anna", f"i{n}") for n in range(8)), *twice)

    pages = [await world.features.top_items(TopOrder.TRENDING, limit=3)]
    while token := pages[-1].next_page_token:
        pages.append(await world.features.top_items(TopOrder.TRENDING, limit=3, page_token=token))

    assert [page.item_ids for page in pages[:2]] == [("i2", "i5", "i0"), ("i1", "i4", "i6")]
    assert [item_id for page in pages[2:] for item_id in page.item_ids] == ["i7"]
    assert len({item_id for page in pages for item_id in page.item_ids}) == 7


async def test_a_page_of_another_list_is_refused(world: World) -> None:
    await world.record(*catalogue_of(4), *(event("anna", f"i{n}") for n in range(4)))
    token = (await world.features.top_items(TopOrder.TRENDING, limit=1)).next_page_token

    for asked in ({"order": TopOrder.POPULAR}, {"order": TopOrder.TRENDING, "category": "c1"}):
        with pytest.raises(ServiceError) as raised:
            await world.features.top_items(**asked, page_token=token)  # type: ignore[arg-type]
        assert raised.value.reason.name == "PAGE_TOKEN_INVALID"


async def test_attributes_are_listed_with_the_types_of_the_present_items(world: World) -> None:
    await world.record(
        Item("i0", attributes={"year": 1990.0, "colour": True}),
        Item("i1", attributes={"year": "unknown"}),
        Item("i2", attributes={"gone": 1.0}),
        ItemDeletion("i2"),
    )

    assert await world.features.attributes() == (
        AttributeUse("year", {AttributeKind.TEXT: 1, AttributeKind.NUMBER: 1}),
        AttributeUse("colour", {AttributeKind.TRUTH: 1}),
    )


async def test_what_was_served_is_counted_for_users_and_sessions_and_goes_with_an_erased_user(world: World) -> None:
    await world.record(Item("i0"), slate("anna", ["i0", "i1"]), slate("", ["i0"]))
    before = await world.features.items(["i0", "i1"])

    receipt = await world.log.erase("anna")
    assert receipt
    await world.state("nobody", receipt.watermark)
    after = await world.features.items(["i0", "i1"])

    assert [state.exposures for state in before] == [2.0, 1.0]
    assert [state.exposures for state in after] == [1.0, 0.0]
    assert [state.popularity for state in before] == [0.0, 0.0], "being shown makes nothing popular"


async def test_half_a_weight_of_servings_is_left_after_a_week(world: World) -> None:
    await world.record(slate("anna", ["i0"], at_ms=NOW_MS - 7 * DAY_MS), slate("ben", ["i1"]))

    (state,) = await world.features.items(["i0"])

    assert state.exposures == 0.5
