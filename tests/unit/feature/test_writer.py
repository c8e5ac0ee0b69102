"""Storing behind the readers: late, but whole, and in order."""

from __future__ import annotations

import asyncio

from shared.domain.event_log import Erasure, Fact, LogRecord
from shared.domain.watermark import Watermark
from tests.fakes import MemoryLog
from tests.unit.feature.stores import RefusingStore
from tests.unit.feature.world import NOW_MS, Room, clock, event


async def applied(store: RefusingStore, events: int = 3) -> tuple[Room, MemoryLog]:
    """A projection that applied events of one user and stored none of them."""
    log, room = MemoryLog(clock), await Room.open(store)
    await log.append([event("anna", f"i{n}") for n in range(events)])
    await room.take(log.records)
    return room, log


async def items_stored(store: RefusingStore) -> list[str]:
    return [item_id for _, _, item_id, *_ in await store.events_of("anna")]


async def test_nothing_new_is_nothing_stored() -> None:
    store = RefusingStore()
    room, _ = await applied(store)
    await room.writer.flush()

    await room.writer.flush()

    assert store.commits == 1


async def test_a_store_that_refuses_is_asked_again_until_it_takes_everything() -> None:
    store = RefusingStore(refusals=3)
    room, _ = await applied(store)

    await room.writer.flush()

    assert (store.attempts, store.commits) == (4, 1)
    assert await items_stored(store) == ["i0", "i1", "i2"]
    assert room.projection.progress.failures == {}


async def test_while_the_store_refuses_the_status_says_so_and_readers_see_what_is_new() -> None:
    store = RefusingStore(refusals=10**6)
    room, log = await applied(store)
    flushing = asyncio.create_task(room.writer.flush())
    while store.attempts < 2:
        await asyncio.sleep(0)

    await log.append([event("anna", "i3")])
    await room.take(log.records[3:])

    entry = await room.projection.users.find("anna")
    assert entry is not None
    assert len(entry.history) == 4
    assert room.projection.progress.failures == {"store": "the disk under /x is full; free some space"}
    assert not room.projection.progress.caught_up

    store.refusals = 0
    await flushing
    await room.writer.flush()
    assert await items_stored(store) == ["i0", "i1", "i2", "i3"]
    assert await store.position() == Watermark.of(4)


async def test_what_an_interrupted_write_left_is_stored_before_what_came_later() -> None:
    store = RefusingStore(refusals=10**6)
    room, log = await applied(store)
    flushing = asyncio.create_task(room.writer.flush())
    while store.attempts < 1:
        await asyncio.sleep(0)
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    store.refusals = 0

    await log.append([event("anna", "i3")])
    await room.take(log.records[3:])
    await room.writer.close()

    assert await items_stored(store) == ["i0", "i1", "i2", "i3"]
    assert await store.position() == Watermark.of(4)


async def test_a_service_that_stops_while_the_store_refuses_stops_and_loses_nothing() -> None:
    store = RefusingStore(refusals=10**6)
    room, log = await applied(store)

    await room.writer.close()
    store.refusals = 0
    again = await room.reopen()
    await again.take(log.records)

    assert again.projection.progress.records == 3
    assert await again.dump() == await (await again.reopen()).dump()


async def test_the_log_is_applied_no_further_than_the_limit_of_what_may_wait() -> None:
    store = RefusingStore(refusals=2)
    log, room = MemoryLog(clock), await Room.open(store, limit=5)
    await log.append([event("anna", f"i{n}") for n in range(5)])

    await room.take(log.records[:3])
    waiting = await store.position()
    await room.take(log.records[3:])

    assert waiting == Watermark()
    assert await store.position() == Watermark.of(5)


async def test_what_is_stored_at_an_erasure_in_the_middle_of_a_batch_is_not_applied_again() -> None:
    store = RefusingStore()
    room = await Room.open(store)
    await room.take([_record(0, 1, event("anna", "i1")), _record(1, 1, event("ben", "i1"))])

    await room.take([_record(0, 2, event("anna", "i2")), _record(1, 2, Erasure(NOW_MS), "subject-ben")])

    assert await store.position() == Watermark(((0, 2), (1, 2)))
    assert len(await store.events_of("anna")) == 2


def _record(partition: int, offset: int, fact: Fact, subject: str = "") -> LogRecord:
    user = getattr(fact, "user_id", "")
    return LogRecord(Watermark(((partition, offset),)), NOW_MS, subject or f"subject-{user}", fact)


async def test_while_the_log_is_replayed_changes_gather_until_they_are_worth_a_write() -> None:
    store, log = RefusingStore(), MemoryLog(clock)
    room = await Room.open(store, limit=20)
    await log.append([event("anna", f"i{n}") for n in range(20)])
    writing = asyncio.create_task(room.writer.run())

    stored = []
    for start, stop in ((0, 5), (5, 10), (10, 15), (15, 20)):
        await room.take(log.records[start:stop], await log.head())
        await turns(100)
        stored.append((await store.position()).offset())
    writing.cancel()

    assert stored == [0, 10, 10, 20]


async def turns(count: int) -> None:
    """Let every task go on so many times."""
    for _ in range(count):
        await asyncio.sleep(0)
