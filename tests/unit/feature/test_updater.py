"""Following the log: through lost connections, repeats and a log that was replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.feature.app import FeatureApp, open_feature
from services.feature.memory_store import MemoryFeatureStore
from services.feature.watching import watch_items
from shared.domain.event_log import Erasure, LogRecord
from shared.domain.items import Item
from shared.domain.services import Features
from shared.domain.user_state import TopOrder, UserState
from shared.domain.watermark import Watermark
from shared.kernel.errors import ErrorReason, ServiceError
from tests.fakes import MemoryLog
from tests.unit.feature.world import ENOUGH_MS, NOW_MS, Room, clock, event, running, settings

LOST = ServiceError(ErrorReason.DEPENDENCY_UNAVAILABLE, "the feedback service does not answer")


async def state(features: Features, user_id: str, at: Watermark) -> UserState:
    return await features.user_state(user_id, at, history_limit=100, budget_ms=ENOUGH_MS)


async def until_caught_up(app: FeatureApp, *, caught_up: bool) -> None:
    """Wait for the status to say so; a test that never gets there hangs and is ended by the runner."""
    while (await app.features.status()).caught_up is not caught_up:
        await asyncio.sleep(0)


@asynccontextmanager
async def starting(folder: Path, log: MemoryLog) -> AsyncIterator[FeatureApp]:
    """A service that may not be ready yet."""
    async with open_feature(settings(folder, store="memory"), clock, log) as app:
        yield app


@pytest.mark.parametrize("error", [LOST, ConnectionResetError("reset by peer")])
async def test_a_lost_log_is_followed_again_and_nothing_is_missed(tmp_path: Path, error: Exception) -> None:
    log = MemoryLog(clock)
    async with running(tmp_path, log) as app:
        await state(app.features, "anna", await log.append([event("anna", "i1")]))

        await log.disconnect(error)
        position = await log.append([event("anna", "i2")])
        log.reconnect()

        assert (await state(app.features, "anna", position)).history.item_ids == ("i1", "i2")
        assert app.hosted.readiness.ready


async def test_while_the_log_is_lost_the_status_says_so_and_answers_go_on(tmp_path: Path) -> None:
    log = MemoryLog(clock)
    async with running(tmp_path, log) as app:
        position = await log.append([event("anna", "i1")])
        await state(app.features, "anna", position)

        await log.disconnect(LOST)
        await until_caught_up(app, caught_up=False)
        meanwhile = await state(app.features, "anna", Watermark())
        log.reconnect()
        await until_caught_up(app, caught_up=True)

        assert meanwhile.history.item_ids == ("i1",)
        assert app.hosted.readiness.ready


async def test_a_lost_log_is_tried_again_for_ever(tmp_path: Path) -> None:
    log = MemoryLog(clock)
    async with running(tmp_path, log) as app:
        await log.disconnect(LOST)
        while log.tails < 20:
            await asyncio.sleep(0)
        log.reconnect()

        position = await log.append([event("anna", "i1")])

        assert (await state(app.features, "anna", position)).history.item_ids == ("i1",)


async def test_a_service_that_never_reached_the_log_is_not_ready_and_says_why(tmp_path: Path) -> None:
    log = MemoryLog(clock)
    await log.disconnect(LOST)
    async with starting(tmp_path, log) as app:
        while log.tails < 2:
            await asyncio.sleep(0)

        assert not app.hosted.readiness.ready
        assert "does not answer" in app.hosted.readiness.reason

        log.reconnect()
        await app.hosted.readiness.wait_ready()


async def test_the_service_is_ready_when_it_holds_what_the_log_held_at_the_start() -> None:
    log, room = MemoryLog(clock), await Room.open(MemoryFeatureStore())
    head = await log.append([event("anna", f"i{n}") for n in range(4)])

    await room.take(log.records[:3], head)
    before, reason = room.readiness.ready, room.readiness.reason
    later = await log.append([event("anna", "i5")])
    await room.take(log.records[3:4], later)

    assert not before
    assert reason == "replaying the log: 3 of 4 records"
    assert room.readiness.ready


async def test_records_that_come_again_are_not_applied_again() -> None:
    log, room = MemoryLog(clock), await Room.open(MemoryFeatureStore())
    await log.append([event("anna", f"i{n}") for n in range(4)])

    await room.take(log.records[:3])
    await room.take(log.records[1:])
    await room.take(log.records)

    entry = await room.projection.users.find("anna")
    assert entry is not None
    assert [item_id for _, _, item_id, *_ in entry.history] == ["i0", "i1", "i2", "i3"]
    assert entry.counts == {3: 4}
    assert room.projection.catalogue.states(["i1"])[0].popularity == 1.0


async def test_the_position_moves_over_records_that_are_not_there_any_more() -> None:
    room = await Room.open(MemoryFeatureStore())

    await room.take([], Watermark.of(9))

    assert room.projection.progress.applied == Watermark.of(9)


async def test_a_record_of_an_erased_user_or_of_a_future_kind_is_passed_over() -> None:
    log, room = MemoryLog(clock), await Room.open(MemoryFeatureStore())
    await log.append([event("anna", "i0")])
    gone = LogRecord(Watermark.of(2), NOW_MS, "somebody", None)

    await room.take([*log.records, gone])

    assert room.projection.progress.applied == Watermark.of(2)
    assert room.projection.users.count == 1


async def test_an_event_without_a_user_is_passed_over() -> None:
    log, room = MemoryLog(clock), await Room.open(MemoryFeatureStore())
    await log.append([event("", "i0")])

    await room.take(log.records)

    assert room.projection.users.count == 0
    assert room.projection.catalogue.states(["i0"])[0].popularity == 0.0


async def test_a_log_that_was_replaced_by_a_shorter_one_is_read_from_its_beginning(tmp_path: Path) -> None:
    old, new = MemoryLog(clock), MemoryLog(clock)
    await old.append([event("anna", f"old{n}") for n in range(9)])
    async with running(tmp_path, old) as app:
        await app.dump()
    await new.append([event("ben", "new")])

    async with running(tmp_path, new) as app:
        anna = await state(app.features, "anna", Watermark())
        ben = await state(app.features, "ben", Watermark())
        status = await app.features.status()

    assert len(anna.history) == 0
    assert ben.history.item_ids == ("new",)
    assert (status.users, status.watermark) == (1, "w1-0.1")


async def test_a_position_that_the_log_refuses_begins_again(tmp_path: Path) -> None:
    old = MemoryLog(clock)
    await old.append([event("anna", "old")])
    async with running(tmp_path, old) as app:
        await app.dump()
    new = MemoryLog(clock)
    await new.append([event("ben", "new"), event("ben", "newer")])
    await new.disconnect(ServiceError(ErrorReason.WATERMARK_INVALID, "the log never was there"))

    async with open_feature(settings(tmp_path), clock, new) as app:
        while (await app.features.status()).users:
            await asyncio.sleep(0)
        new.reconnect()
        await app.hosted.readiness.wait_ready()
        ben = await state(app.features, "ben", Watermark())

    assert ben.history.item_ids == ("new", "newer")


async def test_a_watcher_is_told_when_the_log_was_replaced(tmp_path: Path) -> None:
    log = MemoryLog(clock)
    async with running(tmp_path, log) as app:
        watching = app.features.watch_items(Watermark())
        await anext(watching)
        waiting = asyncio.ensure_future(anext(watching))

        await log.disconnect(ServiceError(ErrorReason.WATERMARK_INVALID, "the log never was there"))

        with pytest.raises(ServiceError) as caught:
            await waiting
    assert caught.value.reason == ErrorReason.WATERMARK_INVALID


async def test_an_item_stands_in_the_partition_that_its_record_moved() -> None:
    room = await Room.open(MemoryFeatureStore())
    places = [((0, 1),), ((0, 1), (1, 1)), ((0, 2), (1, 1)), ((0, 2), (1, 2))]
    records = [LogRecord(Watermark(place), NOW_MS, "", Item(f"i{n}")) for n, place in enumerate(places)]

    await room.take(records)

    entries = room.projection.catalogue.entries.values()
    assert [(entry.item_id, entry.partition, entry.offset) for entry in entries] == [
        ("i0", 0, 1),
        ("i1", 1, 1),
        ("i2", 0, 2),
        ("i3", 1, 2),
    ]


async def test_a_watcher_of_a_partitioned_log_misses_nothing_when_it_comes_back() -> None:
    room = await Room.open(MemoryFeatureStore())
    places = [((0, 1),), ((0, 1), (1, 1)), ((0, 2), (1, 1)), ((0, 2), (1, 2))]
    await room.take([LogRecord(Watermark(place), NOW_MS, "", Item(f"i{n}")) for n, place in enumerate(places)])

    changes = await anext(watch_items(room.projection, Watermark(((0, 2),))))

    assert [state.item_id for state in changes.upserted] == ["i1", "i3"]
    assert changes.watermark == str(Watermark(places[-1]))


async def test_a_new_life_that_is_read_before_the_tombstone_of_the_old_one_holds_nothing_of_it() -> None:
    room, head = await Room.open(MemoryFeatureStore()), Watermark(((0, 3), (1, 1)))
    before = [
        LogRecord(Watermark(((0, 1),)), NOW_MS, "first", event("anna", "old")),
        LogRecord(Watermark(((0, 2),)), NOW_MS, "second", event("ben", "old")),
    ]
    new_life = [LogRecord(Watermark(((1, 1),)), NOW_MS, "third", event("anna", "new"))]
    tombstone = [LogRecord(Watermark(((0, 3),)), NOW_MS, "first", Erasure(NOW_MS))]

    for records in (before, new_life, tombstone):
        await room.take(records, head)

    text = (await room.dump()).decode()
    again = await (await room.reopen()).projection.users.find("anna")
    assert again is not None
    assert [each[2] for each in again.history] == ["new"]
    assert '"first"' not in text
    assert room.projection.catalogue.counts[TopOrder.POPULAR].pairs(room.projection.catalogue.entries["old"].row) == [
        (NOW_MS // (7 * 86_400_000 // 8), 1)
    ]
