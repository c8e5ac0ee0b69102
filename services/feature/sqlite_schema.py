"""Tables of the SQLite feature store, and how rows are read from and written to their columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from services.feature.store import StoredEvent, StoredItem, StoredSlate, StoredUser, UserChange
from shared.domain.items import Item, User
from shared.domain.user_state import ItemStatus
from shared.wire.log import fact_from_bytes, fact_to_bytes

VERSION = 1
"""Of the tables. A store of another version is emptied: the log fills it again."""

TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE users (
        user_id TEXT PRIMARY KEY, subject TEXT NOT NULL, facts TEXT NOT NULL, profile BLOB
    ) WITHOUT ROWID""",
    "CREATE INDEX users_by_subject ON users (subject)",
    # One row holds a user's events of one commit: replaying the log writes few long rows instead of many short ones.
    """CREATE TABLE events (
        user_id TEXT, log_offset INTEGER, latest_ms INTEGER NOT NULL, events TEXT NOT NULL,
        PRIMARY KEY (user_id, log_offset)
    ) WITHOUT ROWID""",
    """CREATE TABLE items (
        item_id TEXT PRIMARY KEY, status INTEGER NOT NULL, content BLOB, first_seen_ms INTEGER NOT NULL,
        watermark TEXT NOT NULL, log_partition INTEGER NOT NULL, log_offset INTEGER NOT NULL
    )""",
    "CREATE TABLE counts (item_id TEXT PRIMARY KEY, popularity BLOB NOT NULL, trend BLOB NOT NULL) WITHOUT ROWID",
)

Row = Sequence[Any]
_ENCODE = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def user_columns(user: StoredUser) -> Row:
    """user_id, subject, facts, profile."""
    facts = {
        "counts": list(user.event_counts.items()),
        "hidden": sorted(user.hidden_item_ids),
        "followed": [(name, *at) for name, at in user.followed.items()],
        "slates": user.slates,
    }
    profile = None if user.profile is None else fact_to_bytes(user.profile)
    return user.user_id, user.subject, _ENCODE(facts), profile


def user_from_columns(row: Row) -> StoredUser:
    """The inverse of `user_columns`."""
    user_id, subject, text, profile = row
    facts = json.loads(text)
    return StoredUser(
        user_id=user_id,
        subject=subject,
        event_counts={int(kind): int(count) for kind, count in facts["counts"]},
        hidden_item_ids=frozenset(facts["hidden"]),
        followed={name: (time_ms, offset) for name, time_ms, offset in facts["followed"]},
        slates=tuple(StoredSlate(served_ms, offset, tuple(ids)) for served_ms, offset, ids in facts["slates"]),
        profile=profile_from_bytes(profile),
    )


def events_columns(change: UserChange) -> Row:
    """user_id, log_offset of the first event, latest_ms, events."""
    events = change.events
    return change.user.user_id, events[0][1], max(event[0] for event in events), _ENCODE(events)


def events_from_rows(rows: Iterable[Row]) -> list[StoredEvent]:
    """All events of rows that hold the events column only, oldest first."""
    return sorted((time_ms, offset, *rest) for (text,) in rows for time_ms, offset, *rest in json.loads(text))


def item_columns(item: StoredItem) -> Row:
    """item_id, status, content, first_seen_ms, watermark, log_partition, log_offset."""
    content = None if item.item is None else fact_to_bytes(item.item)
    return (
        item.item_id,
        int(item.status),
        content,
        item.first_seen_ms,
        item.watermark,
        item.partition,
        item.offset,
    )


def item_from_columns(row: Row) -> StoredItem:
    """The inverse of `item_columns`."""
    item_id, status, content, *place = row
    return StoredItem(item_id, ItemStatus(status), content_from_bytes(content), *place)


def profile_from_bytes(data: bytes | None) -> User | None:
    """A stored profile."""
    fact = None if data is None else fact_from_bytes(data)
    return fact if isinstance(fact, User) else None


def content_from_bytes(data: bytes | None) -> Item | None:
    """An item's stored content."""
    fact = None if data is None else fact_from_bytes(data)
    return fact if isinstance(fact, Item) else None
