"""After retention, the state reached live and the one read anew from what is left of the log are the same bytes.

Whatever came late, crashed, was erased, or was deleted so far.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from services.feature.memory_store import MemoryFeatureStore
from shared.domain.event_log import Fact, LogRecord
from shared.domain.events import Event, EventType
from shared.domain.expiry import Expiry, border_ms
from tests.fakes import MemoryLog
from tests.unit.feature.conftest import Stores
from tests.unit.feature.test_replay_properties import (
    Apply,
    Crash,
    Erase,
    Read,
    Store,
    answers,
    events,
    live,
    other_facts,
    short_histories,
    some_users,
)
from tests.unit.feature.world import DAY_MS, NOW_MS, Room, clock, event, slate

DAYS = 12


@dataclass(frozen=True)
class Expire:
    """Retention takes out what is older than these days; 0: nothing of that class."""

    events: int
    impressions: int
    slates: int


Step = Fact | Erase | Apply | Store | Read | Crash | Expire

some_ages = st.integers(0, DAYS)
stories = st.lists(
    st.one_of(
        events(DAYS), events(DAYS), other_facts(DAYS), st.builds(Apply, st.integers(1, 12)), st.builds(Store),
        st.builds(Read, some_users), st.builds(Crash), st.builds(Erase, some_users),
        st.builds(Expire, some_ages, some_ages, some_ages),
    ),
    min_size=30,
    max_size=60,
)  # fmt: skip


def expiry_of(step: Expire) -> Expiry:
    return Expiry(*(border_ms(NOW_MS, days * DAY_MS) for days in (step.events, step.impressions, step.slates)))


def with_expiries(story: Sequence[Step]) -> list[Step | Fact]:
    """The story with the fact that retention appends at each of its steps: borders never move back."""
    told: list[Step | Fact] = []
    expiry = Expiry()
    for step in story:
        expiry = expiry.joined(expiry_of(step)) if isinstance(step, Expire) else expiry
        told.append(expiry if isinstance(step, Expire) else step)
    return told


def left_of(records: Sequence[LogRecord], deleted: st.DataObject) -> list[LogRecord]:
    """The log after retention: of what an expiry has named, any part is deleted, and so are earlier expiries."""
    named, expiry = set(), Expiry()
    for row in reversed(range(len(records))):
        fact = records[row].fact
        if expiry.drops(fact) or (isinstance(fact, Expiry) and expiry != Expiry()):
            named.add(row)
        expiry = expiry.joined(fact) if isinstance(fact, Expiry) else expiry
    gone = deleted.draw(st.one_of(st.just(named), st.sets(st.sampled_from(sorted(named))) if named else st.just(named)))
    return [record for row, record in enumerate(records) if row not in gone]


async def rebuilt(records: Sequence[LogRecord], log: MemoryLog) -> list[str]:
    """One pass of a new service over what is left."""
    room = await Room.open(MemoryFeatureStore())
    await room.take(records, log.records[-1].watermark if log.records else None)
    return 2 * await answers(room)


@given(story=stories, data=st.data())
def test_the_state_after_retention_is_the_state_that_what_is_left_of_the_log_gives(
    stores: Stores, story: list[Step], data: st.DataObject
) -> None:
    async def both() -> tuple[list[str], list[str]]:
        log = MemoryLog(clock)
        async with stores.opened() as store:
            ours = await live(with_expiries(story), log, store)
        return ours, await rebuilt(left_of(log.records, data), log)

    with short_histories(slates=60):  # all: exposures of an erased user's earlier slates would stay counted
        ours, again = asyncio.run(both())

    assert ours == again


async def test_what_is_older_than_its_class_may_be_is_in_no_answer_and_in_no_row() -> None:
    old, young = NOW_MS - 10 * DAY_MS, NOW_MS - DAY_MS
    store = MemoryFeatureStore()
    room, log = await Room.open(store), MemoryLog(clock)
    await log.append([
        event("anna", "gone", at_ms=old), event("anna", "stays", at_ms=young), event("ben", "gone too", at_ms=old),
        event("anna", "hidden", EventType.HIDE, at_ms=old), event("anna", "seen", EventType.IMPRESSION, at_ms=old),
        slate("anna", ["gone"], at_ms=old), slate("anna", ["stays"], at_ms=young),
        Expiry(*(border_ms(NOW_MS, 5 * DAY_MS) for _ in range(3))),
        event("anna", "came late", at_ms=old),
    ])  # fmt: skip

    await room.take(log.records)

    text = (await room.dump()).decode()
    anna = await room.projection.users.find("anna")
    assert anna is not None
    assert [each[2] for each in anna.history] == ["stays"]
    assert anna.counts == {int(EventType.HIDE): 1, int(EventType.CLICK): 1}
    assert [name for name in ("gone", "gone too", "came late", "hidden") if name in text] == ["hidden"]
    assert [each[2] for each in await store.events_of("anna")] == ["stays"]


async def test_a_history_longer_than_is_kept_loses_the_events_behind_it_too() -> None:
    store = MemoryFeatureStore()
    room, log = await Room.open(store), MemoryLog(clock)
    many: list[Event] = [event("anna", f"i{n % 50}", at_ms=NOW_MS - (1_500 - n) * 600_000) for n in range(1_500)]
    border = border_ms(NOW_MS, 9 * DAY_MS)

    await log.append([*many, Expiry(border)])
    await room.take(log.records)

    kept = [each for each in many if each.event_time_ms >= border]
    await room.writer.flush()
    assert 1_000 < len(kept) < len(many)
    assert [each[5] for each in await store.events_of("anna")] == [each.event_id for each in kept]
