"""What retention writes in the embedded log's database: the borders, how far each class was swept, and deletions.

Belongs to the writer's thread. All of it happens inside of the caller's transactions.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

from shared.domain.expiry import Expiry

TABLE: Final = "CREATE TABLE IF NOT EXISTS retention (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT"
BORDERS: Final = tuple(field.name for field in fields(Expiry))
AT: Final = "expiry_offset"
ITEMS: Final = "items"
"""The class of upserts, see `sqlite_compaction.py`."""
VACUUM_PAGES: Final = 512
"""Pages that one step gives back to the disk at most, 2 MiB."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What one step of a sweep found.

    Attributes:
        border: of whose class, one of `BORDERS` or `ITEMS`.
        through: offset up to which the class is done with this step.
        offsets: of the rows that go.
        slate_hashes: of the slates among them.
    """

    border: str
    through: int
    offsets: Sequence[int]
    slate_hashes: Sequence[bytes]


class RetentionTable:
    """One named number a row.

    Args:
        connection: the writer's.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute(TABLE)

    def expiry(self) -> Expiry:
        """The last one that stands in the log."""
        return Expiry(*map(self._value, BORDERS))

    def swept(self, border: str) -> int:
        """Offset up to which a class was swept."""
        return self._value(f"swept_{border}")

    def replace(self, expiry: Expiry, offset: int) -> None:
        """Note the new last expiry and where it is; the one before says nothing any more and goes."""
        self._connection.execute("DELETE FROM log WHERE log_offset = ?", (self._value(AT),))
        for name in BORDERS:
            self._set(name, getattr(expiry, name))
        self._set(AT, offset)

    def forget(self, sweep: Sweep) -> None:
        """Delete rows."""
        self._connection.executemany("DELETE FROM log WHERE log_offset = ?", [(offset,) for offset in sweep.offsets])
        self._connection.executemany(
            "DELETE FROM slates WHERE slate_hash = ?", [(slate_hash,) for slate_hash in sweep.slate_hashes]
        )
        self._set(f"swept_{sweep.border}", sweep.through)

    def give_back(self) -> None:
        """Return a little of the free space to the disk; outside of transactions. Old logs keep it for new records."""
        # Not `execute`: that steps a statement without columns once, which is one page.
        self._connection.executescript(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")

    def _value(self, name: str) -> int:
        row = self._connection.execute("SELECT value FROM retention WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def _set(self, name: str, value: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO retention VALUES (?, ?)", (name, value))
