"""The feature store in memory: for tests, and for a service that would rather replay the log at each start."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from services.feature.store import Changes, StoredCounts, StoredEvent, StoredItem, StoredUser, UserChange, UserHistory
from shared.domain.expiry import Expiry
from shared.domain.history import HISTORY_LIMIT
from shared.domain.watermark import Watermark


@dataclass
class MemoryFeatureStore:
    """`FeatureStore` in dictionaries."""

    moved: asyncio.Event = field(default_factory=asyncio.Event)
    _position: Watermark = field(default_factory=Watermark)
    _expiry: Expiry = field(default_factory=Expiry)
    _users: dict[str, StoredUser] = field(default_factory=dict)
    _events: dict[str, dict[tuple[int, int], StoredEvent]] = field(default_factory=dict)
    _items: dict[str, StoredItem] = field(default_factory=dict)
    _counts: dict[str, StoredCounts] = field(default_factory=dict)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    async def resume(self) -> None:
        """It never moves."""

    async def position(self) -> Watermark:
        """The position of the last commit."""
        return self._position

    async def expiry(self) -> Expiry:
        """What retention had taken out at the last commit."""
        return self._expiry

    async def commit(self, changes: Changes) -> None:
        """Take rows and position."""
        for user_id in changes.erased_user_ids:
            self._users.pop(user_id, None)
            self._events.pop(user_id, None)
        for item_id in changes.dropped_item_ids:
            self._counts.pop(item_id, None)
        for change in changes.users:
            self._take(change)
        self._items.update((item.item_id, item) for item in changes.items)
        self._counts.update((counts.item_id, counts) for counts in changes.counts)
        self._position = changes.position
        self._expiry = changes.expiry or self._expiry

    async def scrub(self) -> None:
        """Nothing is left of erased users anyway."""

    async def needs_scrub(self) -> bool:
        """Never."""
        return False

    async def users(self, user_ids: Sequence[str]) -> list[UserHistory]:
        """Those of the users that are known, with their latest events."""
        return [self._history(user_id) for user_id in user_ids if user_id in self._users]

    async def user_id_of(self, subject: str) -> str | None:
        """The user that has this pseudonym."""
        return next((user.user_id for user in self._users.values() if user.subject == subject), None)

    async def events_of(self, user_id: str) -> list[StoredEvent]:
        """Every event that is kept of a user."""
        return sorted(self._events.get(user_id, {}).values())

    async def count_users(self) -> int:
        """How many users are kept."""
        return len(self._users)

    async def all_users(self, *, whole: bool = False) -> AsyncIterator[UserHistory]:
        """Every user in the order of ids."""
        for user_id in sorted(self._users):
            yield self._history(user_id, whole=whole)

    async def all_items(self) -> list[StoredItem]:
        """Every item with content or a place in the log."""
        return list(self._items.values())

    async def all_counts(self) -> list[StoredCounts]:
        """The counts of every item about which there are events."""
        return list(self._counts.values())

    async def page_token_key(self) -> bytes:
        """A secret of 32 bytes."""
        return self._key

    async def clear(self) -> None:
        """Forget everything."""
        self._position, self._expiry = Watermark(), Expiry()
        for rows in (self._users, self._events, self._items, self._counts):
            rows.clear()

    def _take(self, change: UserChange) -> None:
        user_id = change.user.user_id
        self._users[user_id] = change.user
        events = self._events.setdefault(user_id, {})
        events.update((event[:2], event) for event in change.events)
        if change.keep_from_ms is not None:
            self._events[user_id] = {at: event for at, event in events.items() if at[0] >= change.keep_from_ms}

    def _history(self, user_id: str, *, whole: bool = False) -> UserHistory:
        events = sorted(self._events.get(user_id, {}).values())
        return UserHistory(self._users[user_id], tuple(events if whole else events[-HISTORY_LIMIT:]))
