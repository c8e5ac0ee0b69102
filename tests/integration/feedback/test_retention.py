"""Retention: what is too old leaves the log, the disk and the features, and everything else stays where it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from services.feature.app import open_feature
from services.feedback.app import open_feedback
from services.feedback.log_opening import open_log
from services.feedback.retention import DAY_MS, Retention, RetentionAges
from services.feedback.settings import FeedbackSettings
from services.feedback.sqlite_log import SqliteEventLog, open_sqlite_log
from shared.domain.event_log import Erasure, Fact
from shared.domain.events import Event, EventType
from shared.domain.expiry import Expiry
from shared.domain.items import Item, User
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.kernel.config import ConfigError, load
from tests.contract.event_log_adapters import NOW_MS, batches, event, records, slate
from tests.integration.feature.embedded import Embedded, clean_pass, until
from tests.integration.feedback.aging_log import Calendar, calendar, log
from tests.unit.feature.world import settings as feature_settings

__all__ = ["calendar", "log"]  # pytest finds the fixtures here

AGES = RetentionAges(events_ms=30 * DAY_MS, impressions_ms=3 * DAY_MS, slates_ms=10 * DAY_MS)
DAYS = {"retention_events_days": 30, "retention_impressions_days": 3, "retention_slates_days": 10}


def retention(log: SqliteEventLog, calendar: Calendar) -> Retention:
    return Retention(log, AGES, calendar, future_skew_ms=60_000)


def life(calendar: Calendar, start: int, user_id: str = "ada") -> list[Fact]:
    """One fact of every kind, of now."""
    kinds = (EventType.CLICK, EventType.IMPRESSION, EventType.HIDE, EventType.FOLLOW)
    events = [
        event(start + row, user_id, event_type=int(kind), event_time_ms=calendar.now_ms, target_id="somebody")
        for row, kind in enumerate(kinds)
    ]
    served = replace(slate(f"r-{start}", user_id), served_ms=calendar.now_ms)
    return [*events, served, User(user_id, (f"tag-{start}",)), Item(f"item-{start}")]


def names(facts: list[Fact | None]) -> list[str]:
    return [_name(fact) for fact in facts]


def _name(fact: Fact | None) -> str:
    if isinstance(fact, Event):
        return EventType(fact.event_type).label
    return "ServedSlate" if isinstance(fact, ServedSlate) else type(fact).__name__


async def test_each_class_leaves_at_its_age_and_the_rest_stays_for_ever(
    log: SqliteEventLog, calendar: Calendar
) -> None:
    await log.append(life(calendar, 0))
    await log.append([event(90, "bob", event_time_ms=calendar.now_ms)])
    await log.erase("bob")
    kept_for_ever = ["hide", "follow", "User", "Item", "Erasure"]

    found = {}
    for days in (5, 15, 40):
        calendar.now_ms = NOW_MS + days * DAY_MS
        await retention(log, calendar).pass_over()
        found[days] = [name for name in names([each.fact for each in await records(log)]) if name != "Expiry"]

    assert found[5] == ["click", "hide", "follow", "ServedSlate", "User", "Item", "Erasure"]
    assert found[15] == ["click", "hide", "follow", "User", "Item", "Erasure"]
    assert found[40] == kept_for_ever
    assert await log.slate("r-0") is None


async def test_positions_of_before_stay_valid_and_pass_over_what_is_gone(
    log: SqliteEventLog, calendar: Calendar
) -> None:
    old = await log.append([event(number, event_time_ms=calendar.now_ms) for number in range(20)])
    calendar.pass_days(40)
    late = event(100, event_time_ms=calendar.now_ms)
    young = await log.append([late])
    await retention(log, calendar).pass_over()
    head = await log.head()

    for after in (Watermark(), Watermark.of(7), old):
        found = await batches(log, after, batch_size=3)
        assert next(each.fact for batch in found for each in batch.records) == late
        assert found[-1].watermark == head
    assert [each.fact for each in await records(log, young)] == [await log.expiry()]


async def test_only_the_last_expiry_stands_in_the_log_and_none_is_added_while_nothing_moves(
    log: SqliteEventLog, calendar: Calendar
) -> None:
    await log.append(life(calendar, 0))
    for _ in range(4):
        calendar.pass_days(2)
        await retention(log, calendar).pass_over()
    head = await log.head()

    await retention(log, calendar).pass_over()

    expiries = [each.fact for each in await records(log) if isinstance(each.fact, Expiry)]
    assert expiries == [AGES.expiry(calendar.now_ms)]
    assert await log.head() == head


async def test_a_longer_age_brings_nothing_back_and_does_not_move_a_border_back(
    log: SqliteEventLog, calendar: Calendar
) -> None:
    await log.append(life(calendar, 0))
    calendar.pass_days(40)
    await retention(log, calendar).pass_over()
    before = await log.expiry()

    await Retention(log, RetentionAges(events_ms=300 * DAY_MS), calendar, 0).pass_over()

    assert await log.expiry() == before


async def test_space_goes_back_to_the_disk(log: SqliteEventLog, calendar: Calendar, tmp_path: Path) -> None:
    long = {"session_id": "s" * 100, "event_time_ms": calendar.now_ms}
    for start in range(0, 20_000, 1_000):
        await log.append([event(number, **long) for number in range(start, start + 1_000)])
    log._writer._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    full = (tmp_path / "feedback" / "log.db").stat().st_size
    calendar.pass_days(40)

    deleted = await retention(log, calendar).pass_over()

    log._writer._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    left = (tmp_path / "feedback" / "log.db").stat().st_size
    assert deleted == 20_000
    assert full > 4_000_000
    assert left < full // 20


async def test_what_nobody_can_read_any_more_leaves_with_what_is_too_old(
    log: SqliteEventLog, calendar: Calendar
) -> None:
    await log.append([event(1, "ada", event_type=int(EventType.HIDE)), event(2, "bob", event_type=int(EventType.HIDE))])
    await log.erase("ada")
    calendar.pass_days(40)

    await retention(log, calendar).pass_over()

    assert names([each.fact for each in await records(log)]) == ["hide", "Erasure", "Expiry"]


async def test_a_sweep_that_is_cut_off_goes_on_after_a_restart(calendar: Calendar, tmp_path: Path) -> None:
    async with open_sqlite_log(tmp_path / "feedback", calendar) as log:
        await log.append([event(number, event_time_ms=calendar.now_ms) for number in range(100)])
        calendar.pass_days(40)
        await log.expire(AGES.expiry(calendar.now_ms))
        first = await log.sweep("events_before_ms", calendar.now_ms - 31 * DAY_MS, 30)
        head = await log.head()

    async with open_sqlite_log(tmp_path / "feedback", calendar) as log:
        left = len([each for each in await records(log) if isinstance(each.fact, Event)])
        deleted = await retention(log, calendar).pass_over()

        assert first == (30, 30)
        assert (left, deleted) == (70, 70)
        assert await log.head() == head


async def test_writing_goes_on_between_the_steps_of_a_sweep(log: SqliteEventLog, calendar: Calendar) -> None:
    await log.append([event(number, event_time_ms=calendar.now_ms) for number in range(3_000)])
    calendar.pass_days(40)
    sweeping = asyncio.create_task(retention(log, calendar).pass_over())
    written = 0
    while not sweeping.done():
        await log.append([event(10_000 + written, event_time_ms=calendar.now_ms)])
        written += 1

    assert await sweeping == 3_000
    assert written > 5
    assert len([each for each in await records(log) if isinstance(each.fact, Event)]) == written


async def test_ids_stay_known_after_retention(log: SqliteEventLog, calendar: Calendar) -> None:
    old = event(1, event_time_ms=calendar.now_ms)
    await log.append([old])
    calendar.pass_days(40)
    await retention(log, calendar).pass_over()

    await log.append([old])

    assert [type(each.fact) for each in await records(log)] == [Expiry]


@asynccontextmanager
async def suite(folder: Path, calendar: Calendar, **more: object) -> AsyncIterator[Embedded]:
    chosen = load(FeedbackSettings, data_dir=folder, **(DAYS | more))
    async with (
        open_feedback(chosen, calendar) as feedback,
        open_feature(feature_settings(folder), calendar, feedback.feedback) as feature,
    ):
        await feature.hosted.readiness.wait_ready()
        yield Embedded(folder, feedback, feature)


async def test_features_that_lived_through_retention_equal_those_that_are_rebuilt_after_it(
    tmp_path: Path, calendar: Calendar
) -> None:
    async with suite(tmp_path, calendar) as services:
        for day in range(50):
            calendar.pass_days(1)
            await services.feedback.log.append(life(calendar, 10 * day, f"user-{day % 7}"))
            if day == 25:
                await services.feedback.log.erase("user-3")
            log = services.feedback.log
            assert isinstance(log, SqliteEventLog)
            await retention(log, calendar).pass_over()
        head = await services.feedback.log.head()
        state = await services.state("user-1", head)

        lived, again = await services.feature.dump(), await clean_pass(services.feedback.log)

        assert lived == again
        assert 0 < len(state.history) < 7
        assert state.profile == User("user-1", ("tag-430",))
        facts = [each.fact for each in await records(services.feedback.log)]
        assert sum(isinstance(fact, ServedSlate) for fact in facts) < 12
        assert sum(isinstance(fact, Item) for fact in facts) == 50
        assert sum(isinstance(fact, Erasure) for fact in facts) == 1


async def test_the_service_takes_out_what_is_too_old_by_itself(tmp_path: Path, calendar: Calendar) -> None:
    async with suite(tmp_path, calendar) as services:
        position = await services.feedback.log.append([event(1, event_time_ms=calendar.now_ms)])
        before = await services.state("ada", position)
    calendar.pass_days(40)

    async with suite(tmp_path, calendar) as services:
        log = services.feedback.log
        await until(lambda: log._head > position.offset())  # type: ignore[attr-defined]

        after = await services.state("ada", await log.head())
        assert (len(before.history), len(after.history)) == (1, 0)


async def test_an_event_that_is_too_old_on_arrival_is_refused(tmp_path: Path, calendar: Calendar) -> None:
    async with suite(tmp_path, calendar) as services:
        recorded = await services.feedback.intake.record_events([
            event(1, event_time_ms=NOW_MS - 29 * DAY_MS), event(2, event_time_ms=NOW_MS - 32 * DAY_MS)
        ])  # fmt: skip

        assert list(recorded.refused) == [1]
        assert "WINNOW_FEEDBACK_RETENTION" in str(recorded.refused[1].violations)


def test_a_log_in_kafka_cannot_forget_by_kind_and_says_so_at_the_start(tmp_path: Path, calendar: Calendar) -> None:
    settings = load(FeedbackSettings, data_dir=tmp_path, log="kafka", **DAYS)

    with pytest.raises(ConfigError, match="WINNOW_FEEDBACK_RETENTION"):
        open_log(settings, calendar)
