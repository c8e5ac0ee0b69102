"""Events that come late, in another order, from the future or before their item: through the log into every store.

The service is started anew between the steps, so that what one life stored meets what the next one applies.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from services.feedback.settings import FeedbackSettings
from shared.domain.items import Item
from shared.domain.user_state import ItemStatus, TopOrder
from tests.integration.feature.embedded import Embedded, clean_pass, embedded
from tests.integration.feature.store_places import StorePlace
from tests.unit.feature.world import DAY_MS, MINUTE_MS, NOW_MS, event


@asynccontextmanager
async def life(place: StorePlace) -> AsyncIterator[Embedded]:
    async with embedded(place.folder, **place.settings) as services:
        yield services


async def test_late_events_end_in_the_right_place_of_the_history(place: StorePlace) -> None:
    times = [NOW_MS - number * MINUTE_MS for number in range(90)]
    Random(3).shuffle(times)
    for start in range(0, len(times), 30):
        async with life(place) as services:
            some = [event("anna", f"at-{time}", at_ms=time) for time in times[start : start + 30]]
            recorded = await services.feedback.intake.record_events(some)
            await services.state("anna", recorded.watermark)

    async with life(place) as services:
        state = await services.state("anna")
        counted = await services.feature.features.items([f"at-{times[0]}"])
        assert await services.feature.dump() == await clean_pass(services.feedback.log)

    assert state.history.times_ms.tolist() == sorted(times)
    assert state.history.item_ids == tuple(f"at-{time}" for time in sorted(times))
    assert counted[0].monthly == 1.0


async def test_an_event_of_yesterday_that_comes_today_counts_as_one_of_yesterday(place: StorePlace) -> None:
    async with life(place) as services:
        await services.feedback.intake.record_events([event("anna", "today")])
    async with life(place) as services:
        late = event("ben", "yesterday", at_ms=NOW_MS - DAY_MS)
        recorded = await services.feedback.intake.record_events([late])
        await services.state("ben", recorded.watermark)
        today, yesterday = await services.feature.features.items(["today", "yesterday"])

    assert (today.trend, yesterday.trend) == (1.0, 0.5)


async def test_an_event_too_far_in_the_future_is_refused_by_itself_and_leaves_no_trace(place: StorePlace) -> None:
    skew_ms = FeedbackSettings.model_validate({"data_dir": place.folder}).future_skew_ms
    tomorrow = event("anna", "tomorrow", at_ms=NOW_MS + skew_ms + 1)
    soon = event("anna", "soon", at_ms=NOW_MS + skew_ms)
    async with life(place) as services:
        recorded = await services.feedback.intake.record_events([event("anna", "now"), tomorrow, soon])
        await services.state("anna", recorded.watermark)
    async with life(place) as services:
        state = await services.state("anna", recorded.watermark)
        (refused_item,) = await services.feature.features.items(["tomorrow"])

    assert list(recorded.refused) == [1]
    assert recorded.refused[1].violations[0].field == "events[1].event_time"
    assert state.history.item_ids == ("now", "soon")
    assert (refused_item.status, refused_item.monthly) == (ItemStatus.NOT_FOUND, 0.0)


async def test_an_event_before_its_item_is_kept_and_becomes_useful_when_the_item_comes(place: StorePlace) -> None:
    async with life(place) as services:
        recorded = await services.feedback.intake.record_events([event("anna", "early")])
        before = await services.state("anna", recorded.watermark)
        listed_before = await services.feature.features.top_items(TopOrder.POPULAR)
    async with life(place) as services:
        upserted = await services.feedback.intake.upsert_items([Item("early", categories=("jazz",))])
        after = await services.state("anna", upserted.watermark)
        listed_after = await services.feature.features.top_items(TopOrder.POPULAR, category="jazz")

    assert (before.history.item_ids, before.category_affinities, listed_before.item_ids) == (("early",), {}, ())
    assert (after.history.item_ids, after.category_affinities) == (("early",), {"jazz": 1.0})
    assert listed_after.item_ids == ("early",)


async def test_an_item_that_is_upserted_again_keeps_its_statistics_and_its_first_day(place: StorePlace) -> None:
    async with life(place) as services:
        await services.feedback.intake.upsert_items([Item("i1", title="old", categories=("jazz",))])
        clicks = [event(f"user-{number}", "i1", at_ms=NOW_MS - number * DAY_MS) for number in range(5)]
        recorded = await services.feedback.intake.record_events(clicks)
        await services.state("anna", recorded.watermark)
        (before,) = await services.feature.features.items(["i1"])
    async with life(place) as services:
        upserted = await services.feedback.intake.upsert_items([Item("i1", title="new", categories=("rock",))])
        await services.state("anna", upserted.watermark)
        (after,) = await services.feature.features.items(["i1"])
        state = await services.state("user-0")

    assert (before.item and before.item.title, after.item and after.item.title) == ("old", "new")
    assert (after.popularity, after.trend, after.hourly, after.monthly) == (
        before.popularity,
        before.trend,
        before.hourly,
        before.monthly,
    )
    assert after.popularity > 1
    assert after.first_seen_ms == before.first_seen_ms
    assert state.category_affinities == {"rock": 1.0}
