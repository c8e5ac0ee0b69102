"""Tables of the SQLite feature store, and how rows are read from and written to their columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from services.feature.rows import (
    content_from_bytes,
    content_to_bytes,
    events_from_texts,
    events_to_text,
    facts_to_text,
    profile_to_bytes,
    user_from_values,
)
from services.feature.store import StoredEvent, StoredItem, StoredUser, UserChange
from shared.domain.user_state import ItemStatus

VERSION = 4
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
        watermark TEXT NOT NULL, log_partition INTEGER NOT NULL, log_offset INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL
    )""",
    "CREATE TABLE counts (item_id TEXT PRIMARY KEY, windows BLOB NOT NULL) WITHOUT ROWID",
)

Row = Sequence[Any]


def user_columns(user: StoredUser) -> Row:
    """user_id, subject, facts, profile."""
    return user.user_id, user.subject, facts_to_text(user), profile_to_bytes(user.profile)


def user_from_columns(row: Row) -> StoredUser:
    """The inverse of `user_columns`."""
    return user_from_values(*row)


def events_columns(change: UserChange) -> Row:
    """user_id, log_offset of the first event, latest_ms, events."""
    events = change.events
    return change.user.user_id, events[0][1], max(events)[0], events_to_text(events)


def events_from_rows(rows: Iterable[Row]) -> list[StoredEvent]:
    """All events of rows that hold the events column only, oldest first."""
    return events_from_texts(text for (text,) in rows)


def item_columns(item: StoredItem) -> Row:
    """item_id, status, content, first_seen_ms, watermark, log_partition, log_offset, updated_ms."""
    content = content_to_bytes(item.item)
    return (
        item.item_id,
        int(item.status),
        content,
        item.first_seen_ms,
        item.watermark,
        item.partition,
        item.offset,
        item.updated_ms,
    )


def item_from_columns(row: Row) -> StoredItem:
    """The inverse of `item_columns`."""
    item_id, status, content, *place = row
    return StoredItem(item_id, ItemStatus(status), content_from_bytes(content), *place)
