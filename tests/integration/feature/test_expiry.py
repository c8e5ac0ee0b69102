"""What expires, and what is too old to be believed, as time goes on: across a restart, on every store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.feature.app import FeatureApp, open_feature
from shared.domain.event_log import ItemDeletion
from shared.domain.events import Event, EventType
from shared.domain.freshness import FeatureStatus, ItemFreshness, UserFreshness
from shared.domain.items import Item, User
from shared.domain.user_state import UserState
from shared.domain.watermark import Watermark
from tests.fakes import MemoryLog
from tests.integration.feature.store_places import StorePlace
from tests.unit.feature.world import DAY_MS, ENOUGH_MS, MINUTE_MS, NOW_MS, event, settings, slate

PRESENT, MISSING, TOO_OLD = FeatureStatus.PRESENT, FeatureStatus.MISSING, FeatureStatus.OUTSIDE_MAX_AGE


@dataclass
class Time:
    """A clock that is set by hand."""

    now_ms: int = NOW_MS

    def __call__(self) -> int:
        """The present moment."""
        return self.now_ms


@asynccontextmanager
async def running(place: StorePlace, log: MemoryLog, time: Time, **limits: int) -> AsyncIterator[FeatureApp]:
    async with open_feature(settings(place.folder, **place.settings, **limits), time, log) as app:
        await app.hosted.readiness.wait_ready()
        yield app


async def state(app: FeatureApp, user_id: str = "anna") -> UserState:
    return await app.features.user_state(user_id, Watermark(), history_limit=10, budget_ms=ENOUGH_MS)


async def test_a_hidden_item_comes_back_after_its_time_and_not_before(place: StorePlace) -> None:
    log, time = MemoryLog(), Time()
    hides = [("early", NOW_MS - 5 * DAY_MS), ("late", NOW_MS), ("again", NOW_MS - 9 * DAY_MS), ("again", NOW_MS)]
    await log.append([event("anna", item_id, EventType.HIDE, at_ms=at_ms) for item_id, at_ms in hides])
    hidden = []
    for days, milliseconds in ((0, 0), (5, 0), (5, 1), (10, 0), (10, 1)):
        time.now_ms = NOW_MS + days * DAY_MS + milliseconds
        async with running(place, log, time, hidden_expiry_days=10) as app:
            hidden.append((await state(app)).hidden_item_ids)

    assert hidden == [{"early", "late", "again"}] * 2 + [{"late", "again"}] * 2 + [set()]


async def test_by_default_a_hidden_item_stays_hidden_for_ever(place: StorePlace) -> None:
    log, time = MemoryLog(), Time(NOW_MS + 10_000 * DAY_MS)
    await log.append([event("anna", "i1", EventType.HIDE)])

    async with running(place, log, time) as app:
        assert (await state(app)).hidden_item_ids == {"i1"}


async def test_a_block_ends_with_the_hides_of_its_time_also_in_an_answer_that_is_kept(place: StorePlace) -> None:
    log, time = MemoryLog(), Time()
    await log.append([_block("early", NOW_MS - DAY_MS), _block("late", NOW_MS)])
    async with running(place, log, time, hidden_expiry_days=2) as app:
        answers = []
        for milliseconds in (0, DAY_MS, DAY_MS + 1, 2 * DAY_MS, 2 * DAY_MS + 1):
            time.now_ms = NOW_MS + milliseconds
            answers.append((await state(app)).blocked_ids)

    assert answers == [{"early", "late"}] * 2 + [{"late"}] * 2 + [set()]


def _block(target_id: str, at_ms: int) -> Event:
    return Event(f"block-{target_id}", "anna", "", EventType.HIDE, at_ms, target_id=target_id)


async def test_an_answer_that_is_kept_forgets_what_expires_while_the_service_runs(place: StorePlace) -> None:
    log, time = MemoryLog(), Time()
    await log.append([event("anna", "hidden", EventType.HIDE), slate("anna", ["served"])])
    async with running(place, log, time, hidden_expiry_days=1, served_expiry_minutes=30) as app:
        answers = []
        for minutes in (0, 30, 31, 24 * 60, 24 * 60 + 1):
            time.now_ms = NOW_MS + minutes * MINUTE_MS
            answers.append(await state(app))

    assert [answer.served_item_ids for answer in answers] == [("served",), ("served",), (), (), ()]
    assert [answer.hidden_item_ids for answer in answers] == [{"hidden"}] * 4 + [set()]


async def test_a_users_features_are_present_then_too_old_and_missing_where_nothing_is(place: StorePlace) -> None:
    log, time = MemoryLog(Time(NOW_MS - DAY_MS)), Time()
    await log.append([Item("i1", categories=("c",)), event("anna", "i1"), event("ben", "unknown"), User("anna")])
    limits = {"history_max_age_days": 3, "profile_max_age_days": 1}
    async with running(place, log, time, **limits) as app:
        anna, ben, nobody = await state(app), await state(app, "ben"), await state(app, "nobody")
        time.now_ms += 1
        aged = await state(app)
    time.now_ms = NOW_MS + 3 * DAY_MS + 1
    async with running(place, log, time, **limits) as app:
        old = await state(app)

    assert anna.freshness == UserFreshness(history=PRESENT, profile=PRESENT, category_affinities=PRESENT)
    assert ben.freshness == UserFreshness(history=PRESENT, profile=MISSING, category_affinities=MISSING)
    assert nobody.freshness == UserFreshness(history=MISSING, profile=MISSING, category_affinities=MISSING)
    assert aged.freshness == UserFreshness(history=PRESENT, profile=TOO_OLD, category_affinities=PRESENT)
    assert old.freshness == UserFreshness(history=TOO_OLD, profile=TOO_OLD, category_affinities=TOO_OLD)
    assert old.history.item_ids == ("i1",)


async def test_an_items_features_are_present_then_too_old_and_missing_where_nothing_is(place: StorePlace) -> None:
    log, time = MemoryLog(Time(NOW_MS - DAY_MS)), Time()
    await log.append([Item("plain"), Item("gone"), ItemDeletion("gone"), event("anna", "plain"), event("anna", "gone")])
    names = ["plain", "gone", "never"]
    async with running(place, log, time, content_max_age_days=1) as app:
        young = await app.features.items(names)
        time.now_ms += 1
        old = await app.features.items(names)

    assert [item.updated_ms for item in young] == [NOW_MS - DAY_MS, NOW_MS - DAY_MS, 0]
    assert [item.freshness for item in young] == [
        ItemFreshness(content=PRESENT, counts=PRESENT, vectors=MISSING),
        ItemFreshness(content=MISSING, counts=PRESENT, vectors=MISSING),
        ItemFreshness(content=MISSING, counts=MISSING, vectors=MISSING),
    ]
    assert [item.freshness.content for item in old] == [TOO_OLD, MISSING, MISSING]
