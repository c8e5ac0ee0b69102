"""The projection: log records in, state of users and items out.

Memory is changed at once and the store later, always to the state behind a whole number of records. A record that was
applied before (the log sends some again after a lost connection) is left out by its position.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from services.feature.catalogue import Catalogue
from services.feature.item_entry import Place
from services.feature.progress import Progress
from services.feature.store import Changes, FeatureStore, StoredEvent, UserChange
from services.feature.user_entry import CONSUMING_CODES, UserEntry, keep_from_ms, worth_storing
from services.feature.users import Users
from shared.domain.event_log import Erasure, ItemDeletion, LogRecord
from shared.domain.events import Event, EventType
from shared.domain.expiry import Expiry
from shared.domain.items import Item, User
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark

NO_VALUE = math.nan
OF_A_USER = (Event, ServedSlate, User)
MARKERS = (Erasure, Expiry)
"""Tuples, because they are asked of each record: a union costs twice as much."""


@dataclass(frozen=True)
class Pending:
    """Changes that are being stored, and the version of each user that they hold."""

    changes: Changes
    versions: list[tuple[UserEntry, int]]


class Projection:
    """State of users and catalogue at `progress.applied`."""

    def __init__(self, users: Users, catalogue: Catalogue, progress: Progress) -> None:
        self.users = users
        self.catalogue = catalogue
        self.progress = progress
        self.stored = progress.applied
        self.expiry = Expiry()
        self._changed: dict[str, UserEntry] = {}
        self._added = 0
        self._erased: list[str] = []
        self._dropped: dict[str, None] = {}

    @property
    def pending(self) -> int:
        """Roughly how many rows wait to be stored."""
        return self._added + len(self._changed)

    async def apply(self, records: Sequence[LogRecord], now_ms: int) -> None:
        """Apply a run of records that has no erasure in it."""
        fresh = self.fresh(records)
        if not fresh:
            return
        entries = await self.users.entries(_subjects(fresh))
        run = _Run(entries, self.catalogue, self.expiry)
        run.apply(fresh, self.progress.applied)
        self.catalogue.count(run.rows, run.times_ms)
        self.catalogue.expose(run.served_rows, run.served_ms)
        for entry in entries.values():
            entry.version += 1
        self._changed.update(entries)
        self._added += len(fresh)
        self.progress.advance(fresh[-1].watermark, len(fresh), now_ms)

    async def erase(self, record: LogRecord, now_ms: int) -> None:
        """Apply a tombstone. Everything before it must be stored."""
        if not self.fresh([record]):
            return
        await self._forget(record.subject)
        self.progress.advance(record.watermark, 1, now_ms)

    async def outlived(self, records: Sequence[LogRecord]) -> list[str]:
        """Pseudonyms of users that come with a new one: they were erased, and the tombstone is still to be read.

        In a log of several partitions the new life may come first: a user's partition is that of the pseudonym.
        """
        head = self.progress.head
        if head is None or len(head.positions) < 2:  # one partition has one order
            return []
        subjects = _subjects(self.fresh(records))
        await self.users.load(subjects)
        entries = ((self.users.get(user_id), subject) for user_id, subject in subjects.items())
        return [entry.subject for entry, subject in entries if entry is not None and entry.subject != subject]

    async def bury(self, subjects: Sequence[str]) -> None:
        """Erase before the tombstones come; stored with what is applied next. Everything before must be stored."""
        for subject in subjects:
            await self._forget(subject)

    async def _forget(self, subject: str) -> None:
        found = await self.users.erase(subject)
        if found is not None:
            consumed = [(item_id, time_ms) for time_ms, _, item_id, *_ in found.events]
            served = [(item_id, slate.served_ms) for slate in found.user.slates for item_id in slate.item_ids]
            self._dropped.update(dict.fromkeys(self.catalogue.uncount(consumed, served)))
            self._erased.append(found.user.user_id)

    def uncounted(self, events: Sequence[StoredEvent]) -> Changes:
        """Take events out of the items' counts; what that changes of an otherwise stored state."""
        dropped = self.catalogue.uncount([(event[2], event[0]) for event in events], ())
        items, counts = self.catalogue.take_changed()
        return Changes(self.progress.applied, items=items, counts=counts, dropped_item_ids=dropped)

    def expire(self, record: LogRecord, expiry: Expiry, now_ms: int) -> None:
        """Take no more of what has fallen out; users and counts are without it already."""
        self.expiry = expiry
        self.catalogue.conceal(expiry.slates_before_ms)
        self.progress.advance(record.watermark, 1, now_ms)

    async def load(self, store: FeatureStore) -> None:
        """Become what the store holds, whatever was here before."""
        catalogue, position = Catalogue(), await store.position()
        catalogue.load(await store.all_items(), await store.all_counts())
        users = await store.count_users()
        self.users.clear(users)
        self.catalogue = catalogue
        self.progress.restart(position)
        self.stored = position
        self.expiry = await store.expiry()
        self.catalogue.conceal(self.expiry.slates_before_ms)
        self._changed, self._added, self._erased, self._dropped = {}, 0, [], {}

    def take(self) -> Pending | None:
        """Everything that the store lacks; None when it lacks nothing."""
        if self.progress.applied == self.stored:
            return None
        window_start = self.catalogue.window_start_ms
        items, counts = self.catalogue.take_changed()
        changes = Changes(
            position=self.progress.applied,
            users=[_change(entry, window_start) for entry in self._changed.values()],
            items=items,
            counts=counts,
            erased_user_ids=tuple(self._erased),
            dropped_item_ids=tuple(self._dropped),
            expiry=self.expiry,
        )
        versions = [(entry, entry.version) for entry in self._changed.values()]
        self._changed, self._added, self._erased, self._dropped = {}, 0, [], {}
        return Pending(changes, versions)

    def settle(self, pending: Pending) -> None:
        """The store holds these changes now."""
        self.stored = pending.changes.position
        for entry, version in pending.versions:
            entry.stored_version = version
            self.users.weigh(entry)
        self.users.erased(pending.changes.erased_user_ids)
        self.users.evict()

    def fresh(self, records: Sequence[LogRecord]) -> Sequence[LogRecord]:
        """Those of a run that were not applied before."""
        applied = self.progress.applied
        if records and not applied.covers(records[0].watermark):
            return records
        return [record for record in records if not applied.covers(record.watermark)]


class _Run:
    """Records on their way into memory; consuming events and servings are counted together at the end.

    This is the one place where the speed of replaying the log is decided: most records are events.
    """

    def __init__(self, entries: dict[str, UserEntry], catalogue: Catalogue, expiry: Expiry) -> None:
        self.rows: list[int] = []
        self.times_ms: list[int] = []
        self.served_rows: list[int] = []
        self.served_ms: list[int] = []
        self._expiry = expiry
        self._border_ms = expiry.keeps_events_from_ms
        self._entries = entries
        self._catalogue = catalogue

    def apply(self, records: Sequence[LogRecord], before: Watermark) -> None:
        """Take records in that stand behind a position.

        One without a fact is gone with its user, or of a kind of the future.
        """
        for record in records:
            positions, fact = record.watermark.positions, record.fact
            partition, offset = positions[0] if len(positions) == 1 else _moved(record.watermark, before)
            before = record.watermark
            if isinstance(fact, Event):
                self._apply_event(fact, offset)
            elif isinstance(fact, Item | ItemDeletion):
                self._apply_item(fact, Place(str(record.watermark), partition, offset, record.recorded_ms))
            elif isinstance(fact, ServedSlate):
                self._apply_slate(fact, offset)
            elif isinstance(fact, User):
                entry = self._entries[fact.user_id]
                entry.profile, entry.profile_ms = fact, record.recorded_ms

    def _apply_event(self, event: Event, offset: int) -> None:
        entry = self._entries.get(event.user_id)
        if entry is None:  # of an anonymous session: no log should hold these
            return
        kind, item_id, counts, time_ms = event.event_type, event.item_id, entry.counts, event.event_time_ms
        if time_ms < self._border_ms and self._expiry.drops(event):  # it came too late
            return
        counts[kind] = counts.get(kind, 0) + 1
        if kind in CONSUMING_CODES and item_id:
            item, value = self._catalogue.touch(item_id), event.value
            self.rows.append(item.row)
            self.times_ms.append(time_ms)
            entry.remember((time_ms, offset, item.item_id, kind, NO_VALUE if value is None else value, event.event_id))
        elif kind == EventType.HIDE and item_id:
            entry.hide(item_id, time_ms, offset)
        elif kind == EventType.HIDE and event.target_id:
            entry.block(event.target_id, time_ms, offset)
        elif kind == EventType.FOLLOW and (event.target_id or item_id):
            entry.follow(event.target_id or item_id, time_ms, offset)

    def _apply_slate(self, slate: ServedSlate, offset: int) -> None:
        """Slates of anonymous sessions are nobody's history, but what they show is shown."""
        if self._expiry.drops(slate):  # it came too late
            return
        if slate.user_id:
            self._entries[slate.user_id].serve(slate, offset)
        if slate.served_ms < self._catalogue.exposures.open_from_ms:
            return
        rows = [self._catalogue.entry(item_id).row for item_id in slate.shown_item_ids]
        self.served_rows += rows
        self.served_ms += [slate.served_ms] * len(rows)

    def _apply_item(self, fact: Item | ItemDeletion, place: Place) -> None:
        if isinstance(fact, Item):
            self._catalogue.upsert(fact, place)
        else:
            self._catalogue.delete(fact.item_id, place)


def _moved(watermark: Watermark, before: Watermark) -> tuple[int, int]:
    """The partition that a record stands in, and the offset there: the one that moved."""
    return next(pair for pair in watermark.positions if before.offset(pair[0]) < pair[1])


def _change(entry: UserEntry, window_start_ms: int | None) -> UserChange:
    keep_from = keep_from_ms(entry, window_start_ms)
    events, entry.added = worth_storing(entry.added, keep_from), []
    return UserChange(entry.stored(), events, keep_from)


def _subjects(records: Sequence[LogRecord]) -> dict[str, str]:
    """The pseudonym of each user that is named, by user id."""
    return {
        record.fact.user_id: record.subject
        for record in records
        if isinstance(record.fact, OF_A_USER) and record.fact.user_id
    }


def without_erasures(records: Sequence[LogRecord]) -> list[Sequence[LogRecord]]:
    """Cut a batch into runs: an erasure or an expiry stands alone, everything between two of them together."""
    runs: list[Sequence[LogRecord]] = []
    start = 0
    for row, record in enumerate(records):
        if isinstance(record.fact, MARKERS):
            runs += [records[start:row], [record]]
            start = row + 1
    return [run for run in [*runs, records[start:]] if run]
