"""Which users are in memory, and what is kept of one."""

from __future__ import annotations

from services.feature.memory_store import MemoryFeatureStore
from services.feature.user_entry import (
    BLOCKED_LIMIT,
    FOLLOWED_LIMIT,
    SLATE_LIMIT,
    UserEntry,
    keep_from_ms,
    worth_storing,
)
from services.feature.users import Users
from shared.domain.history import HISTORY_LIMIT
from tests.fakes import MemoryLog
from tests.unit.feature.world import NOW_MS, Room, clock, event, slate


async def room_with(*users: str, cached_events: int) -> tuple[Room, MemoryLog]:
    """A projection that has read ten events of each user, not stored yet."""
    log, room = MemoryLog(clock), await Room.open(MemoryFeatureStore(), cached_events)
    await log.append([event(user, f"i{n}", at_ms=NOW_MS + n) for user in users for n in range(10)])
    await room.take(log.records)
    return room, log


def full_history(first_ms: int) -> UserEntry:
    """A user whose history is full, an event each second."""
    entry = UserEntry("anna", "subject")
    for n in range(HISTORY_LIMIT):
        entry.remember((first_ms + 1_000 * n, n + 1, "i", 3, 0.0, f"e{n}"))
    return entry


async def test_what_the_store_lacks_stays_in_memory_beyond_the_limit() -> None:
    room, _ = await room_with("anna", "ben", "cleo", cached_events=5)

    room.projection.users.evict()

    assert all(room.projection.users.get(user) for user in ("anna", "ben", "cleo"))


async def test_what_the_store_holds_leaves_memory_least_recently_used_first() -> None:
    room, _ = await room_with("anna", "ben", "cleo", cached_events=25)
    room.projection.users.get("anna")

    await room.writer.flush()

    assert room.projection.users.get("ben") is None
    assert room.projection.users.get("anna") is not None
    assert room.projection.users.get("cleo") is not None


async def test_a_user_who_left_memory_is_read_from_the_store() -> None:
    room, log = await room_with("anna", "ben", cached_events=1)
    await room.writer.flush()

    await log.append([event("anna", "late", at_ms=NOW_MS - 1)])
    await room.take(log.records[20:])

    entry = await room.projection.users.find("anna")
    assert entry is not None
    assert [item_id for _, _, item_id, *_ in entry.history] == ["late", *(f"i{n}" for n in range(10))]
    assert room.projection.users.count == 2


async def test_an_erased_user_is_not_read_back_while_the_store_still_holds_them() -> None:
    room, log = await room_with("anna", cached_events=100)
    await room.writer.flush()
    users = room.projection.users

    await users.erase(log.subject("anna"))

    assert await users.find("anna") is None
    assert len(await room.store.users(["anna"])) == 1


async def test_an_unknown_pseudonym_erases_nobody() -> None:
    users = Users(MemoryFeatureStore(), 100, 0)

    assert await users.erase("nobody") is None
    assert users.count == 0


def test_the_history_keeps_the_latest_events_whenever_they_arrive() -> None:
    entry = full_history(NOW_MS)

    entry.remember((NOW_MS - 1, 5_000, "too-old", 3, 0.0, "e-old"))
    entry.remember((NOW_MS + 1_500, 5_001, "late", 3, 0.0, "e-late"))

    assert len(entry.history) == HISTORY_LIMIT
    assert [item_id for _, _, item_id, *_ in entry.history[:3]] == ["i", "late", "i"]


def test_everything_is_needed_while_every_event_counts_or_there_is_room() -> None:
    small = UserEntry("anna", "subject")

    assert keep_from_ms(full_history(NOW_MS), None) is None
    assert keep_from_ms(small, NOW_MS) is None


def test_an_event_goes_when_it_is_neither_history_nor_counted() -> None:
    entry = full_history(NOW_MS)

    assert keep_from_ms(entry, NOW_MS - 10) == NOW_MS - 10
    assert keep_from_ms(entry, NOW_MS + 10) == NOW_MS


def test_an_event_that_would_go_at_once_is_not_stored() -> None:
    old, new = (1, 1, "i", 3, 0.0, "old"), (9, 2, "i", 3, 0.0, "new")

    assert worth_storing([old, new], 5) == [new]
    assert worth_storing([old, new], None) == [old, new]


def test_the_latest_follows_are_kept() -> None:
    entry = UserEntry("anna", "subject")
    for n in range(FOLLOWED_LIMIT + 1):
        entry.follow(f"c{n}", n, n)

    assert len(entry.followed) == FOLLOWED_LIMIT
    assert "c0" not in entry.followed


def test_the_latest_blocks_are_kept() -> None:
    entry = UserEntry("anna", "subject")
    for n in range(BLOCKED_LIMIT + 1):
        entry.block(f"c{n}", n, n)

    assert len(entry.blocked) == BLOCKED_LIMIT
    assert "c0" not in entry.blocked


def test_the_latest_slates_are_kept_whenever_they_arrive() -> None:
    entry = UserEntry("anna", "subject")
    times = [*range(1, SLATE_LIMIT + 1), 0]
    for offset, time_ms in enumerate(times):
        entry.serve(slate("anna", [f"i{time_ms}"], at_ms=time_ms), offset)

    assert [served.served_ms for served in entry.slates] == sorted(times)[1:]
