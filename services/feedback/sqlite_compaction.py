"""Compaction of the catalogue in the embedded log: an item that is upserted every day need not stand there every day.

Of each item the first upsert stays, because its time is when the item was first seen, and the last one; deletions stay.
A projection that has seen what is deleted and one that never did agree behind the last of them.

Belongs to the writer's thread. All of it happens inside of the caller's transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Final

TABLE: Final = """
CREATE TABLE IF NOT EXISTS item_upserts (   -- of each item as far as compaction has looked
    item_id TEXT PRIMARY KEY,
    first_offset INTEGER NOT NULL,
    last_offset INTEGER NOT NULL
) STRICT, WITHOUT ROWID
"""
FIND: Final = "SELECT first_offset, last_offset FROM item_upserts WHERE item_id = ?"
NOTE: Final = """
INSERT INTO item_upserts VALUES (?, ?, ?) ON CONFLICT (item_id) DO UPDATE SET last_offset = excluded.last_offset
"""

Upsert = tuple[str, int]
"""Item id and offset of the record."""


class ItemUpserts:
    """Where the first and the last upsert of each item stand.

    Args:
        connection: the writer's.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(TABLE)

    def note(self, upserts: Iterable[Upsert]) -> list[int]:
        """Take the next upserts in, in the order of the log; gives the offsets of those that they replace."""
        return [replaced for item_id, offset in upserts if (replaced := self._note(item_id, offset))]

    def _note(self, item_id: str, offset: int) -> int:
        found = self._connection.execute(FIND, (item_id,)).fetchone()
        self._connection.execute(NOTE, (item_id, offset, offset))
        if found is None:
            return 0
        first, last = found
        return int(last) if last != first else 0
