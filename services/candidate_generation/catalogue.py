"""Candidate generation's own view of the catalogue: every item at a *slot*, its content in columns.

A slot is a dense integer; masks and scores are arrays over slots. A slot keeps its item while the item lives and for
a minute after its deletion, longer than any request, so a request under way never sees another item in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from services.candidate_generation.attributes import AttributeColumns
from services.candidate_generation.availability import AvailabilityWindows
from services.candidate_generation.columns import Column
from services.candidate_generation.lexicon import item_labels, item_words
from services.candidate_generation.meanings import MeaningVectors
from services.candidate_generation.newest import NewestItems
from services.candidate_generation.postings import PostingIndex
from shared.domain.items import Item
from shared.domain.user_state import ItemState

NOWHERE = -1
"""The slot of an item that the catalogue does not hold."""

_QUARANTINE_MS = 60_000
_FEWEST_FREED = 1024

Slots = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Catalogue:
    """All items that may be recommended. Used from the event loop only; arrays handed out may be read anywhere.

    Args:
        newest: how many of the newest items are kept at hand.
        meanings: holds what items mean; None: nobody asks.

    Attributes:
        size: S, slots so far, those of deleted items included.
        version: grows with every change.
        categories: slots by category.
        labels: slots by category or tag, case-folded.
        words: slots by word of title, tags and categories.
        attributes: typed attributes, for conditions.
        windows: availability windows.
        meanings: text vectors by slot.
    """

    def __init__(self, newest: int = 1000, meanings: MeaningVectors | None = None) -> None:
        self.size = 0
        self.version = 0
        self.categories, self.labels, self.words = PostingIndex(), PostingIndex(), PostingIndex()
        self._items: list[Item] = []
        self._slots: dict[str, int] = {}
        self._free: list[int] = []
        self._alive = Column(np.bool_)
        self._died_ms = Column(np.int64)
        self._content_versions = Column(np.int64)
        self._popularity = Column(np.float32)
        self._born_ms = Column(np.int64)
        self.attributes = AttributeColumns(self._live_items)
        self.windows = AvailabilityWindows()
        self.meanings = MeaningVectors() if meanings is None else meanings  # an empty one is false
        self._newest = NewestItems(newest)
        self._updated: dict[int, str] = {}

    def __len__(self) -> int:
        """How many items live."""
        return int(np.count_nonzero(self.alive))

    # What happened to the catalogue

    def upsert(self, states: Iterable[ItemState]) -> None:
        """Take items with their content."""
        self.version += 1
        for state in states:
            if state.item is not None:
                self._put(state, state.item)

    def delete(self, item_ids: Iterable[str], now_ms: int) -> None:
        """Let items go; unknown ones are ignored."""
        self.version += 1
        for item_id in item_ids:
            slot = self.slot(item_id)
            if slot != NOWHERE:
                self._alive.set(slot, value=False)
                self._died_ms.set(slot, now_ms)
                self._content_versions.set(slot, self.version)
        self._free_slots(now_ms)

    # What it holds

    @property
    def alive(self) -> Mask:
        """(S,) whether a slot's item lives."""
        return self._alive.view(self.size)

    @property
    def content_versions(self) -> npt.NDArray[np.int64]:
        """(S,) the catalogue's version at which the item's content last changed or the item was deleted."""
        return self._content_versions.view(self.size)

    @property
    def popularity(self) -> npt.NDArray[np.float32]:
        """(S,) decayed count of consuming events, as of each item's last upsert."""
        return self._popularity.view(self.size)

    @property
    def born_ms(self) -> npt.NDArray[np.int64]:
        """(S,) when each item came into being: as it says, else its first upsert."""
        return self._born_ms.view(self.size)

    def newest(self) -> Slots:
        """The live slots that the catalogue got last, latest first."""
        return self._newest.pool(self.alive)

    def slot(self, item_id: str) -> int:
        """The slot of a living item, else `NOWHERE`."""
        slot = self._slots.get(item_id, NOWHERE)
        return slot if slot != NOWHERE and self.alive[slot] else NOWHERE

    def slots(self, item_ids: Sequence[str] | frozenset[str]) -> Slots:
        """(N,) slots of many items, `NOWHERE` where there is none."""
        get = self._slots.get
        slots = np.fromiter((get(item_id, NOWHERE) for item_id in item_ids), np.int64, len(item_ids))
        if not self.size:
            return slots
        return np.where((slots != NOWHERE) & self.alive[slots], slots, NOWHERE)

    def living_ids(self) -> list[str]:
        """The ids of all living items."""
        return [item.item_id for _, item in self._live_items()]

    def item(self, slot: int) -> Item:
        """The content at a slot."""
        return self._items[slot]

    def item_ids(self, slots: Slots) -> tuple[str, ...]:
        """The ids at these slots."""
        items = self._items
        return tuple(items[slot].item_id for slot in slots.tolist())

    def updated_watermark(self, slot: int) -> str:
        """Log position of the item's last upsert, "" when not known."""
        return self._updated.get(slot, "")

    def in_category(self, categories: Iterable[str]) -> Mask:
        """(S,) items with at least one of these categories."""
        mask = np.zeros(self.size, np.bool_)
        for category in categories:
            mask[self.categories.get(category).slots] = True
        return mask

    def _put(self, state: ItemState, item: Item) -> None:
        slot = self._slots.get(item.item_id, NOWHERE)
        known = slot != NOWHERE
        if not known:
            slot = self._new_slot(item)
        old = self._items[slot] if known else None
        was_alive = known and bool(self.alive[slot])
        changed = old is None or _content(old) != _content(item)
        if changed or not was_alive:
            self._content_versions.set(slot, self.version)
            self._updated[slot] = state.updated_watermark
        self._items[slot] = item
        self._alive.set(slot, value=True)
        self._popularity.set(slot, state.popularity)
        self.windows.changed(slot, old, item)
        if changed:
            self._index(slot, old, item)
        self._born_ms.set(slot, item.created_ms or state.first_seen_ms)
        if not was_alive:
            self._newest.arrived(slot, state.first_seen_ms)

    def _index(self, slot: int, old: Item | None, new: Item) -> None:
        self.categories.change(slot, _categories(old), _categories(new))
        self.labels.change(slot, item_labels(old) if old else {}, item_labels(new))
        self.words.change(slot, item_words(old) if old else {}, item_words(new))
        self.attributes.changed(slot, new)
        self.meanings.changed(slot, new)

    def _new_slot(self, item: Item) -> int:
        if self._free:
            slot = self._free.pop()
            self._items[slot] = item
        else:
            slot = self.size
            self._items.append(item)
            self.size += 1
        self._slots[item.item_id] = slot
        return slot

    def _free_slots(self, now_ms: int) -> None:
        """Give up slots of items that have been gone for long, many at once: each list is rewritten only then."""
        gone = ~self.alive & (self._died_ms.view(self.size) <= now_ms - _QUARANTINE_MS)
        gone[np.array(self._free, np.int64)] = False
        if np.count_nonzero(gone) < max(_FEWEST_FREED, self.size // 4):
            return
        for index in (self.categories, self.labels, self.words):
            index.forget(gone)
        for slot in np.flatnonzero(gone).tolist():
            self.windows.forget(self._items[slot])
            del self._slots[self._items[slot].item_id]
            self._updated.pop(slot, None)
            self._free.append(slot)

    def _live_items(self) -> Iterator[tuple[int, Item]]:
        for slot in np.flatnonzero(self.alive).tolist():
            yield slot, self._items[slot]


def _categories(item: Item | None) -> dict[str, float]:
    return dict.fromkeys(item.categories, 1.0) if item else {}


def _content(item: Item) -> tuple[object, ...]:
    """What an item's vector is made of: times and references change without making it another item."""
    vectors = tuple(
        (vector.modality, vector.encoder_id, vector.content_hash or vector.values.tobytes()) for vector in item.vectors
    )
    return (item.title, item.description, item.creator_id, item.categories, item.tags, vectors, item.attributes)
