"""One item's place in the catalogue, and where a catalogue record stands in the log."""

from __future__ import annotations

from dataclasses import dataclass

from shared.domain.items import Item
from shared.domain.user_state import ItemStatus

Counted = tuple[str, int]
"""An item, and the moment (ms) of what is counted of it."""


@dataclass(slots=True)
class ItemEntry:
    """One item's place.

    Attributes:
        upserted: the content as the client sent it.
        item: the same with the created time and computed content vectors filled in.
        partition, offset: of the record of the last upsert or deletion; 0 before the first.
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
