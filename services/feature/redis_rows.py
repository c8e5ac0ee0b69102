"""Keys of the Redis feature store, and how rows are written to them and read back.

All keys carry the namespace as their hash tag, so in a Redis Cluster they lie in one slot, on one node, and rows and
log position change in one transaction. A cluster is used by several services, each with a namespace of its own.

| key | type | holds |
|---|---|---|
| `{ns}:state` | hash | version, generation, commit, position, expiry, page_token_key, scrub |
| `{ns}:users` | hash | user id → pseudonym |
| `{ns}:subjects` | hash | pseudonym → user id |
| `{ns}:facts` | hash | user id → a line of JSON, then the profile |
| `{ns}:events:<user id>` | sorted set | latest event time (ms) → the events of one commit |
| `{ns}:items`, `{ns}:counts` | hash | item id → row |
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.feature.rows import (
    content_from_bytes,
    content_to_bytes,
    events_from_texts,
    events_to_text,
    facts_to_text,
    profile_to_bytes,
    user_from_values,
    windows_to_bytes,
)
from services.feature.store import Changes, StoredEvent, StoredItem, StoredUser, UserChange
from shared.domain.user_state import ItemStatus

VERSION: Final = b"4"
"""Of the keys. A store of another version is emptied: the log fills it again."""
FIELDS_LIMIT: Final = 50_000
"""Fields that one command sets: a server takes a million arguments."""

Commands = Any
"""A pipeline of redis-py, of a single server or of a cluster."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one namespace."""

    state: str
    users: str
    subjects: str
    facts: str
    items: str
    counts: str
    events: str

    @classmethod
    def of(cls, namespace: str) -> Keys:
        """Every key begins with the hash tag."""
        return cls(*(f"{{{namespace}}}:{name}" for name in cls.__slots__))

    def events_of(self, user_id: str) -> str:
        """Where the events of a user are."""
        return f"{self.events}:{user_id}"

    @property
    def tables(self) -> tuple[str, ...]:
        """The keys that hold rows of many."""
        return self.users, self.subjects, self.facts, self.items, self.counts


def write(commands: Commands, keys: Keys, changes: Changes, subjects: Mapping[str, str]) -> None:
    """Queue everything but the position; `subjects` are the pseudonyms that the store has of users that change."""
    _erase(commands, keys, changes, subjects)
    current = {change.user.user_id: change.user.subject for change in changes.users}
    former = [old for user_id, old in subjects.items() if current.get(user_id, old) != old]
    _remove(commands, keys.subjects, former)
    _set(commands, keys.users, current)
    _set(commands, keys.subjects, {subject: user_id for user_id, subject in current.items()})
    _set(commands, keys.facts, {change.user.user_id: facts_value(change.user) for change in changes.users})
    for change in changes.users:
        _write_events(commands, keys.events_of(change.user.user_id), change)
    _set(commands, keys.items, {item.item_id: item_value(item) for item in changes.items})
    _set(commands, keys.counts, {counts.item_id: windows_to_bytes(counts.windows) for counts in changes.counts})


def _erase(commands: Commands, keys: Keys, changes: Changes, subjects: Mapping[str, str]) -> None:
    _remove(commands, keys.counts, changes.dropped_item_ids)
    erased = changes.erased_user_ids
    if erased:
        _remove(commands, keys.subjects, [subjects[user_id] for user_id in erased if user_id in subjects])
        _remove(commands, keys.users, erased)
        _remove(commands, keys.facts, erased)
        commands.unlink(*(keys.events_of(user_id) for user_id in erased))


def _write_events(commands: Commands, key: str, change: UserChange) -> None:
    if change.events:
        latest_ms = max(event[0] for event in change.events)
        commands.zadd(key, {events_to_text(change.events): latest_ms})
    if change.keep_from_ms:
        commands.zremrangebyscore(key, "-inf", f"({change.keep_from_ms}")


def _set(commands: Commands, key: str, values: Mapping[str, str | bytes]) -> None:
    pairs = list(values.items())
    for start in range(0, len(pairs), FIELDS_LIMIT):
        commands.hset(key, mapping=dict(pairs[start : start + FIELDS_LIMIT]))


def _remove(commands: Commands, key: str, fields: Sequence[str]) -> None:
    for start in range(0, len(fields), FIELDS_LIMIT):
        commands.hdel(key, *fields[start : start + FIELDS_LIMIT])


def facts_value(user: StoredUser) -> bytes:
    """A line of JSON, then the profile."""
    return facts_to_text(user).encode() + b"\n" + (profile_to_bytes(user.profile) or b"")


def user_from_value(user_id: str, subject: bytes, value: bytes) -> StoredUser:
    """The inverse of `facts_value`."""
    facts, _, profile = value.partition(b"\n")
    return user_from_values(user_id, subject.decode(), facts, profile or None)


def events_from_members(members: Sequence[bytes]) -> list[StoredEvent]:
    """All events of a user, oldest first."""
    return events_from_texts(members)


def item_value(item: StoredItem) -> bytes:
    """A line of JSON (status, first_seen_ms, watermark, partition, offset, updated_ms), then the content."""
    place = (int(item.status), item.first_seen_ms, item.watermark, item.partition, item.offset, item.updated_ms)
    return json.dumps(place).encode() + b"\n" + (content_to_bytes(item.item) or b"")


def item_from_value(item_id: str, value: bytes) -> StoredItem:
    """The inverse of `item_value`."""
    line, _, content = value.partition(b"\n")
    status, *place = json.loads(line)
    return StoredItem(item_id, ItemStatus(status), content_from_bytes(content or None), *place)


def decoded(pairs: Iterator[tuple[bytes, bytes]]) -> dict[str, bytes]:
    """Fields of a scanned hash; a scan may give one twice."""
    return {field.decode(): value for field, value in pairs}
