"""The item catalogue in memory: content, statistics, and which items changed since when.

An item has a row from the first fact about it, be it content or an event, and keeps its statistics when it is
upserted again or deleted. The states handed out are immutable and made once for each change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from services.feature.attribute_uses import AttributeUses
from services.feature.decayed_counts import DecayedCounts
from services.feature.item_entry import Counted, ItemEntry, Place, freshness_of
from services.feature.store import StoredCounts, StoredItem
from shared.domain.freshness import NOTHING_OF_ITEM
from shared.domain.items import ContentVector, Item
from shared.domain.user_state import ItemState, ItemStatus, TopOrder
from shared.model.content_vectors import with_vectors

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS


class Catalogue:
    """Every item of which anything is known.

    Attributes:
        version: grows with every change of content or statistics.
        categories_version: grows when categories of an item change about which there are events.
        changes: upserts, deletions and enrichments so far.
        exposures: how often each item was served.
        attributes: which ones the present items have.
        unread: ids of items whose content nobody has looked at yet, oldest first.
    """

    def __init__(self) -> None:
        self.counts = {
            TopOrder.POPULAR: DecayedCounts(7 * _DAY_MS),
            TopOrder.TRENDING: DecayedCounts(_DAY_MS),
            # Whoever alone keeps a shop busy for ten hours can be erased exactly: 40 quarters more are held than count.
            TopOrder.HOURLY: DecayedCounts(_HOUR_MS, buckets_per_half_life=4),
            TopOrder.MONTHLY: DecayedCounts(30 * _DAY_MS),
        }
        self.exposures = DecayedCounts(7 * _DAY_MS)
        self.entries: dict[str, ItemEntry] = {}
        self.by_row: list[ItemEntry | None] = []
        self.by_category: dict[str, dict[int, None]] = {}
        self.version = 0
        self.categories_version = 0
        self.changes = 0
        self.present = 0
        self.attributes = AttributeUses()
        self.unread: dict[str, None] = {}
        self._order: dict[str, None] = {}  # ids in the order of their last change
        self._states: dict[str, ItemState] = {}
        self._shifts = 0  # of the counts' weights, when the states were made
        self._placed: dict[str, None] = {}  # not stored yet
        self._counted: dict[str, None] = {}  # not stored yet
        self._free: list[int] = []
        self._dropped = False

    def touch(self, item_id: str) -> ItemEntry:
        """The entry of an item about which there is an event; it gets one when it is new."""
        entry = self.entry(item_id)
        entry.touched = True
        return entry

    def entry(self, item_id: str) -> ItemEntry:
        """The entry of an item; it gets one when it is new."""
        return self.entries.get(item_id) or self._add(item_id)

    def upsert(self, item: Item, place: Place) -> None:
        """Create or replace an item's content; its statistics stay."""
        entry = self.entry(item.item_id)
        entry.first_seen_ms = entry.first_seen_ms or place.recorded_ms
        self._place(entry, ItemStatus.PRESENT, item, place)

    def delete(self, item_id: str, place: Place) -> None:
        """Remove an item's content; its statistics stay for the case that it comes back."""
        entry = self.entries.get(item_id)
        if entry is not None and entry.status is ItemStatus.PRESENT:
            self._place(entry, ItemStatus.DELETED, None, place)

    def enrich(self, upserted: Item, vectors: Sequence[ContentVector], *, watched: bool = True) -> None:
        """Give an item the vectors of its content, unless it has other content by now.

        Args:
            upserted: the content that they were made of.
            vectors: of modalities that it has no vector of.
            watched: somebody may have been given the item without them already.
        """
        entry = self.entries.get(upserted.item_id)
        if entry is None or entry.upserted is not upserted or entry.item is None:
            return
        entry.item = replace(entry.item, vectors=with_vectors(upserted, vectors))
        self._states.pop(entry.item_id, None)
        if watched:
            self._changed(entry)
            entry.enriched = entry.change

    def count(self, rows: Sequence[int], times_ms: Sequence[int]) -> None:
        """Count consuming events."""
        self._touch(rows)
        for counts in self.counts.values():
            counts.add(np.array(rows, np.int64), np.array(times_ms, np.int64))

    def expose(self, rows: Sequence[int], times_ms: Sequence[int]) -> None:
        """Count servings."""
        self._touch(rows)
        self.exposures.add(np.array(rows, np.int64), np.array(times_ms, np.int64))

    def conceal(self, before_ms: int) -> None:
        """Take servings out that have fallen out of the log, and those that share a bucket with the last of them."""
        self.version += 1
        self.exposures.close(before_ms)

    def uncount(self, consumed: Iterable[Counted], served: Iterable[Counted]) -> list[str]:
        """Take an erased user's events and servings out; gives the items that nobody else knows: they are gone now."""
        touched = {entry.row: entry for entry in self._remove(consumed, *self.counts.values())}
        touched |= {entry.row: entry for entry in self._remove(served, self.exposures)}
        orphans = [entry for entry in touched.values() if self._orphaned(entry)]
        for entry in orphans:
            self._drop(entry)
        return [entry.item_id for entry in orphans]

    def states(self, item_ids: Sequence[str]) -> list[ItemState]:
        """States in request order."""
        shifts = sum(counts.shifts for counts in self._all_counts())
        if shifts != self._shifts:
            self._shifts = shifts
            self._states.clear()
        states = self._states
        missing = [item_id for item_id in item_ids if item_id not in states]
        if missing:
            self._make_states([self.entries[item_id] for item_id in missing if item_id in self.entries])
        return [states.get(item_id) or _unknown(item_id) for item_id in item_ids]

    def categories_of(self, item_id: str) -> tuple[str, ...]:
        """Categories of a present item, none of another."""
        entry = self.entries.get(item_id)
        return entry.item.categories if entry is not None and entry.item is not None else ()

    def scores(self, order: TopOrder) -> npt.NDArray[np.float64]:
        """Decayed counts by row."""
        return self.counts[order].values()

    def changed_since(self, change: int) -> list[ItemEntry]:
        """Items upserted or deleted after a change number."""
        changed = []
        for item_id in reversed(self._order):
            entry = self.entries[item_id]
            if entry.change <= change:
                break
            changed.append(entry)
        return changed

    def take_changed(self) -> tuple[list[StoredItem], list[StoredCounts]]:
        """Content and counts that changed since the last call, to be stored."""
        placed, counted = self._placed, [item_id for item_id in self._counted if item_id in self.entries]
        self._placed, self._counted = {}, {}
        return self.stored_items(placed), self.stored_counts(counted)

    def stored_items(self, item_ids: Iterable[str]) -> list[StoredItem]:
        """Content as it is stored."""
        entries = (self.entries[item_id] for item_id in item_ids)
        return [
            StoredItem(
                entry.item_id, entry.status, entry.upserted, entry.first_seen_ms, entry.watermark, entry.partition,
                entry.offset, entry.updated_ms,
            )
            for entry in entries
        ]  # fmt: skip

    def stored_counts(self, item_ids: Sequence[str]) -> list[StoredCounts]:
        """Counts as they are stored."""
        rows = [self.entries[item_id].row for item_id in item_ids]
        packed = zip(*(counts.packed(rows) for counts in self._all_counts()), strict=True)
        return [StoredCounts(item_id, windows) for item_id, windows in zip(item_ids, packed, strict=True)]

    def load(self, items: Sequence[StoredItem], counts: Sequence[StoredCounts]) -> None:
        """Put stored rows back, content in the order in which it changed."""
        for stored in sorted(items, key=lambda item: (item.partition, item.offset)):
            entry = self._add(stored.item_id)
            entry.first_seen_ms = stored.first_seen_ms
            place = Place(stored.watermark, stored.partition, stored.offset, stored.updated_ms)
            self._place(entry, stored.status, stored.item, place)
        rows = [self.touch(stored.item_id).row for stored in counts]
        for number, window in enumerate(self._all_counts()):
            window.load(rows, [stored.windows[number] for stored in counts])
        self._placed, self._counted = {}, {}

    @property
    def window_start_ms(self) -> int | None:
        """Events before this time are in no count; None while all are."""
        starts = [counts.window_start_ms for counts in self.counts.values()]
        known = [start for start in starts if start is not None]
        return min(known) if len(known) == len(starts) else None

    def _all_counts(self) -> tuple[DecayedCounts, ...]:
        return (*self.counts.values(), self.exposures)

    def _remove(self, facts: Iterable[Counted], *windows: DecayedCounts) -> list[ItemEntry]:
        """Take facts out of counts; gives the entries that they were about."""
        known = [(self.entries[item_id], time_ms) for item_id, time_ms in facts if item_id in self.entries]
        rows = np.array([entry.row for entry, _ in known], np.int64)
        times = np.array([time_ms for _, time_ms in known], np.int64)
        self._touch(rows.tolist())
        for counts in windows:
            counts.remove(rows, times)
        return [entry for entry, _ in known]

    def _add(self, item_id: str) -> ItemEntry:
        if not self._free:
            self._free.append(len(self.by_row))
            self.by_row.append(None)
        # After a drop somebody's old event may be about an item that comes as new.
        entry = ItemEntry(item_id, self._free.pop(), touched=self._dropped)
        self.by_row[entry.row] = entry
        self.entries[item_id] = entry
        for counts in self._all_counts():
            counts.reserve(len(self.by_row))
        return entry

    def _place(self, entry: ItemEntry, status: ItemStatus, item: Item | None, place: Place) -> None:
        self._index(entry, item)
        self.attributes.change(entry.upserted, item)
        self.present += (status is ItemStatus.PRESENT) - (entry.status is ItemStatus.PRESENT)
        entry.status, entry.upserted = status, item
        entry.item = replace(item, created_ms=item.created_ms or entry.first_seen_ms) if item else None
        entry.watermark, entry.partition, entry.offset = place.watermark, place.partition, place.offset
        entry.updated_ms = place.recorded_ms
        self.version += 1
        self._changed(entry)
        self._states.pop(entry.item_id, None)
        self._placed[entry.item_id] = None
        if item is None:
            self.unread.pop(entry.item_id, None)
        else:
            self.unread[entry.item_id] = None

    def _changed(self, entry: ItemEntry) -> None:
        self.changes += 1
        entry.change = self.changes
        self._order.pop(entry.item_id, None)
        self._order[entry.item_id] = None

    def _index(self, entry: ItemEntry, item: Item | None) -> None:
        before = entry.item.categories if entry.item else ()
        after = item.categories if item else ()
        if entry.touched and before != after:
            self.categories_version += 1
        for category in before:
            self.by_category[category].pop(entry.row, None)
        for category in after:
            self.by_category.setdefault(category, {})[entry.row] = None

    def _touch(self, rows: Sequence[int]) -> None:
        self.version += 1
        touched = [entry.item_id for row in set(rows) if (entry := self.by_row[row]) is not None]
        self._counted.update(dict.fromkeys(touched))
        if self._states:
            for item_id in touched:
                self._states.pop(item_id, None)

    def _orphaned(self, entry: ItemEntry) -> bool:
        return not entry.watermark and not any(counts.used(entry.row) for counts in self._all_counts())

    def _drop(self, entry: ItemEntry) -> None:
        del self.entries[entry.item_id]
        self.by_row[entry.row] = None
        self._free.append(entry.row)
        self._dropped = True
        self._counted.pop(entry.item_id, None)
        self._states.pop(entry.item_id, None)

    def _make_states(self, entries: Sequence[ItemEntry]) -> None:
        rows = [entry.row for entry in entries]
        scores = zip(*(counts.values()[rows].tolist() for counts in self._all_counts()), strict=True)
        for entry, (popularity, trend, hourly, monthly, exposures) in zip(entries, scores, strict=True):
            self._states[entry.item_id] = ItemState(
                entry.item_id, entry.status, entry.item, popularity, trend, entry.watermark, entry.first_seen_ms,
                hourly, monthly, exposures, entry.updated_ms, freshness_of(entry, counted=popularity + monthly > 0),
            )  # fmt: skip


def _unknown(item_id: str) -> ItemState:
    return ItemState(item_id, ItemStatus.NOT_FOUND, freshness=NOTHING_OF_ITEM)
