"""The users in memory: the recently used ones, and those of whom the store does not hold everything yet."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from services.feature.store import FeatureStore, UserHistory
from services.feature.user_entry import UserEntry


class Users:
    """Entries by user id, least recently used first.

    Attributes:
        count: users that are known, in memory or not.
        limit_events: events of history that may stay in memory; entries that the store lacks stay beyond it.
    """

    def __init__(self, store: FeatureStore, limit_events: int, count: int = 0) -> None:
        self.count = count
        self.limit_events = limit_events
        self._store = store
        self._entries: OrderedDict[str, UserEntry] = OrderedDict()
        self._subjects: dict[str, str] = {}
        self._weight = 0
        self._erased: set[str] = set()  # not yet erased in the store
        self._loading = asyncio.Lock()

    def get(self, user_id: str) -> UserEntry | None:
        """An entry that is in memory."""
        entry = self._entries.get(user_id)
        if entry is not None:
            self._entries.move_to_end(user_id)
        return entry

    async def entries(self, subjects: Mapping[str, str]) -> dict[str, UserEntry]:
        """An entry for each of the users, made where nothing was known.

        Args:
            subjects: the log's present pseudonym by user id.
        """
        await self.load(subjects)
        return {user_id: self._entry(user_id, subject) for user_id, subject in subjects.items()}

    async def load(self, user_ids: Iterable[str]) -> None:
        """Bring those of the users into memory that the store knows."""
        async with self._loading:
            missing = [user_id for user_id in user_ids if user_id not in self._entries and user_id not in self._erased]
            if not missing or len(self._entries) >= self.count:  # whoever is not in memory is new
                return
            for stored in await self._store.users(missing):
                self._put(UserEntry.load(stored))

    async def find(self, user_id: str) -> UserEntry | None:
        """An entry, from the store when need be; None for an unknown user."""
        entry = self.get(user_id)
        if entry is None:
            await self.load([user_id])
            entry = self.get(user_id)
            self.evict()
        return entry

    async def knows(self, subject: str) -> bool:
        """Whether a user has this pseudonym."""
        return subject in self._subjects or await self._store.user_id_of(subject) is not None

    async def erase(self, subject: str) -> UserHistory | None:
        """Forget the user with this pseudonym; gives all that was kept, which the store must hold, with every event."""
        async with self._loading:
            user_id = await self._store.user_id_of(subject)
            if user_id is None:
                return None
            (kept,) = await self._store.users([user_id])
            events = await self._store.events_of(user_id)
            self._remove(user_id)
            self._erased.add(user_id)
            self.count -= 1
            return UserHistory(kept.user, tuple(events))

    async def forget(self, user_ids: Sequence[str]) -> None:
        """Forget users of whom nothing is left; the store follows."""
        async with self._loading:
            for user_id in user_ids:
                self._remove(user_id)
                self._erased.add(user_id)
            self.count -= len(user_ids)

    def erased(self, user_ids: Iterable[str]) -> None:
        """The store has erased them too."""
        self._erased.difference_update(user_ids)

    def weigh(self, entry: UserEntry) -> None:
        """Note how much memory an entry takes after a change."""
        weight = len(entry.history) + len(entry.added) + 1
        self._weight += weight - entry.weight
        entry.weight = weight

    def evict(self) -> None:
        """Let the least recently used entries go that the store holds."""
        for _ in range(len(self._entries)):
            if self._weight <= self.limit_events:
                return
            user_id, entry = next(iter(self._entries.items()))
            if entry.pinned:
                self._entries.move_to_end(user_id)
            else:
                self._remove(user_id)

    def clear(self, count: int) -> None:
        """Forget everybody; the store knows so many."""
        self._entries.clear()
        self._subjects.clear()
        self._erased.clear()
        self._weight, self.count = 0, count

    def _entry(self, user_id: str, subject: str) -> UserEntry:
        entry = self.get(user_id)
        if entry is None:
            self.count += 1
            return self._put(UserEntry(user_id, subject))
        if entry.subject != subject:
            self._subjects.pop(entry.subject, None)
            self._subjects[subject] = user_id
            entry.subject = subject
        return entry

    def _put(self, entry: UserEntry) -> UserEntry:
        self._entries[entry.user_id] = entry
        self._subjects[entry.subject] = entry.user_id
        self.weigh(entry)
        return entry

    def _remove(self, user_id: str) -> None:
        entry = self._entries.pop(user_id, None)
        if entry is not None:
            self._weight -= entry.weight
            self._subjects.pop(entry.subject, None)
