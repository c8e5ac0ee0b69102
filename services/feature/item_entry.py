"""One item's place in the catalogue, and where a catalogue record stands in the log."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from shared.domain.freshness import FeatureStatus, ItemFreshness
from shared.domain.items import Item
from shared.domain.user_state import ItemStatus

Counted = tuple[str, int]
"""An item, and the moment (ms) of what is counted of it."""
_STATUSES = (FeatureStatus.MISSING, FeatureStatus.PRESENT)
_FRESHNESS = {there: ItemFreshness(*(_STATUSES[each] for each in there)) for there in product((False, True), repeat=3)}


@dataclass(slots=True)
class ItemEntry:
    """One item's place.

    Attributes:
        upserted: the content as the client sent it.
        item: the same with the created time and computed content vectors filled in.
        partition, offset, updated_ms: of the record of the last upsert or deletion; 0 before the first.
        touched: events about it may exist.
        change: number of its last upsert, deletion or enrichment in this catalogue's life.
        enriched: number of the change that gave it content vectors while it was watched; 0: none did.
    """

    item_id: str
    row: int
    status: ItemStatus = ItemStatus.NOT_FOUND
    upserted: Item | None = None
    item: Item | None = None
    first_seen_ms: int = 0
    watermark: str = ""
    partition: int = 0
    offset: int = 0
    updated_ms: int = 0
    touched: bool = False
    change: int = 0
    enriched: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a catalogue record stands in the log: the position behind it, its partition and the offset there."""

    watermark: str
    partition: int
    offset: int
    recorded_ms: int


def freshness_of(entry: ItemEntry, *, counted: bool) -> ItemFreshness:
    """How each feature of an item stands; every combination is made once."""
    content, vectors = entry.item is not None, entry.item is not None and len(entry.item.vectors) > 0
    return _FRESHNESS[content, counted, vectors]
