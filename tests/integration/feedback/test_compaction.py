"""Compaction of the catalogue: what an upsert replaced leaves the log, and no projection can tell."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.feature.memory_store import MemoryFeatureStore
from services.feedback import retention as feedback_retention
from services.feedback import sqlite_reader
from services.feedback.log_opening import open_log
from services.feedback.retention import DAY_MS, Retention, RetentionAges
from services.feedback.settings import FeedbackSettings
from services.feedback.sqlite_log import SqliteEventLog, open_sqlite_log
from shared.domain.event_log import Fact, ItemDeletion, LogRecord
from shared.domain.items import Item
from shared.domain.watermark import Watermark
from shared.kernel.config import ConfigError, load
from tests.contract.event_log_adapters import batches, records
from tests.integration.feedback.aging_log import Calendar, calendar, log
from tests.unit.feature.test_replay_properties import USERS, Erase, events, other_facts
from tests.unit.feature.world import Room

__all__ = ["calendar", "log"]  # pytest finds the fixtures here

KEPT_DAYS = 2
FEWER = settings(max_examples=max(20, settings().max_examples // 2))
"""Each example writes a log to the disk."""
AGES = RetentionAges(replaced_items_ms=KEPT_DAYS * DAY_MS)


async def compact(log: SqliteEventLog, calendar: Calendar) -> int:
    """One pass of a retention that keeps everything but replaced content."""
    return await Retention(log, AGES, calendar, future_skew_ms=0).pass_over()


async def facts(log: SqliteEventLog) -> list[Fact | None]:
    return [each.fact for each in await records(log)]


def titles(number: int) -> list[Item]:
    return [Item("film", title=f"title {each}") for each in range(number)]


async def test_of_an_item_the_first_upsert_the_last_one_and_its_deletions_stay(
    log: SqliteEventLog, calendar: Calendar
) -> None:
    first, *_, last = titles(5)
    await log.append([*titles(3), Item("other"), ItemDeletion("film"), *titles(5)[3:]])
    calendar.pass_days(3)

    deleted = await compact(log, calendar)

    assert deleted == 3
    assert await facts(log) == [first, Item("other"), ItemDeletion("film"), last]
    assert await compact(log, calendar) == 0


async def test_content_stays_until_its_replacement_is_old_enough(log: SqliteEventLog, calendar: Calendar) -> None:
    await log.append(titles(2))
    calendar.pass_days(10)
    await log.append([Item("film", title="new")])
    calendar.pass_days(1)
    young = await compact(log, calendar)
    calendar.pass_days(2)

    assert (young, await compact(log, calendar)) == (0, 1)
    assert await facts(log) == [titles(1)[0], Item("film", title="new")]


async def test_an_item_is_known_again_after_a_restart(calendar: Calendar, tmp_path: Path) -> None:
    for number in range(4):
        async with open_sqlite_log(tmp_path / "feedback", calendar) as log:
            await log.append([Item("film", title=f"title {number}")])
            calendar.pass_days(3)
            await compact(log, calendar)
            left = await facts(log)

    assert left == [titles(1)[0], titles(4)[3]]


async def test_positions_of_before_stay_valid(log: SqliteEventLog, calendar: Calendar) -> None:
    positions = [await log.append([item]) for item in titles(6)]
    calendar.pass_days(3)
    await compact(log, calendar)

    for after in (Watermark(), *positions[:5]):
        found = await batches(log, after, batch_size=1)
        assert found[-1].records[-1].fact == titles(6)[5]
        assert found[-1].watermark == positions[5]


async def test_a_long_log_is_compacted_in_small_steps(
    log: SqliteEventLog, calendar: Calendar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_reader, "SCAN_ROWS", 7)
    monkeypatch.setattr(feedback_retention, "STEP_ROWS", 3)
    await log.append([Item(f"film-{number % 5}", title=str(number)) for number in range(50)])
    calendar.pass_days(3)

    assert await compact(log, calendar) == 40
    assert [each.title for each in await facts(log) if isinstance(each, Item)] == [
        *map(str, range(5)), *map(str, range(45, 50))
    ]  # fmt: skip


def test_a_log_in_kafka_does_not_compact_and_says_so_at_the_start(tmp_path: Path, calendar: Calendar) -> None:
    kafka = load(FeedbackSettings, data_dir=tmp_path, log="kafka", retention_replaced_items_days=30)

    with pytest.raises(ConfigError, match="WINNOW_FEEDBACK_RETENTION"):
        open_log(kafka, calendar)


@dataclass(frozen=True)
class Compact:
    """Days pass, and replaced content leaves."""

    days: int


Step = Fact | Erase | Compact

stories = st.lists(
    st.one_of(
        events(10), other_facts(10), other_facts(10), other_facts(10),
        st.builds(Erase, st.sampled_from(USERS)), st.builds(Compact, st.integers(0, 4)),
    ),
    min_size=20,
    max_size=50,
)  # fmt: skip


async def tell(story: Sequence[Step], log: SqliteEventLog, calendar: Calendar) -> list[LogRecord]:
    """Act the story out; gives every record as it was before anything was deleted."""
    written: list[LogRecord] = []
    for step in story:
        if isinstance(step, Erase):
            await log.erase(step.user_id)
        elif isinstance(step, Compact):
            calendar.pass_days(step.days)
            written += await records(log, written[-1].watermark if written else Watermark())
            await compact(log, calendar)
        else:
            await log.append([step])
    written += await records(log, written[-1].watermark if written else Watermark())
    readable = {each.watermark: each for each in await records(log)}  # erased users' facts are gone in both
    return [readable.get(each.watermark, each) for each in written]


async def dump_of(*parts: Sequence[LogRecord]) -> bytes:
    room = await Room.open(MemoryFeatureStore())
    for part in parts:
        await room.take(part)
    return await room.dump()


@FEWER
@given(story=stories, data=st.data())
def test_a_replay_of_the_compacted_log_gives_the_same_bytes_as_one_of_the_whole(
    story: list[Step], data: st.DataObject
) -> None:
    async def run(folder: Path) -> None:
        calendar = Calendar()
        async with open_sqlite_log(folder, calendar) as log:
            whole = await tell(story, log, calendar)
            calendar.pass_days(KEPT_DAYS + 1)
            await compact(log, calendar)
            compacted = await records(log)
        cut = data.draw(st.integers(0, len(whole)))
        rest = [each for each in compacted if each.watermark.offset() > cut]

        upserts = [each.fact.item_id for each in compacted if isinstance(each.fact, Item)]
        assert all(upserts.count(item_id) <= 2 for item_id in upserts)
        assert await dump_of(compacted) == await dump_of(whole)
        assert await dump_of(whole[:cut], rest) == await dump_of(whole)

    with TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder) / "feedback"))
