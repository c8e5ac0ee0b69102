"""What stands beside Kafka on the local disk: keys, pseudonyms, erasures under way, and where slates are.

Keys are not in Kafka, because a key must be gone when `EraseUser` answers, and a topic forgets only when its segments
are cleaned. Keys, pseudonyms and erasures exist here only: the volume is as precious as the topic. The places of slates
are derived: the topic is read on from `through`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from services.feedback.keyed_hash import KeyedHash
from services.feedback.seen_ids import SeenIds
from services.feedback.sqlite_database import DatabaseForm, transaction
from services.feedback.untold_erasures import ErasedUser
from shared.domain.watermark import Watermark

FORM: Final = DatabaseForm(
    "kafka.db",
    0x574E4B46,  # the bytes of `WNKF`
    1,
    """
CREATE TABLE erasures (         -- keys that are destroyed, whose tombstone is not in the topic yet
    user_hash BLOB PRIMARY KEY,
    key_row INTEGER NOT NULL,
    subject TEXT NOT NULL,
    erased_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE slates (
    slate_hash BLOB PRIMARY KEY,
    part INTEGER NOT NULL,
    part_offset INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
""",
    "SELECT max(key_row) FROM keys",
    "the companion of an event log in Kafka",
)
ROWS_A_QUERY: Final = 200
Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class KafkaFiles:
    """What the writer stands on.

    Attributes:
        connection: for writing the companion file.
        folder: in which it lies, for messages.
        hashes: of the log.
        seen: ids of events that are in the log.
    """

    connection: sqlite3.Connection
    folder: Path
    hashes: KeyedHash
    seen: SeenIds


class PendingErasure(NamedTuple):
    """A key that is destroyed and must be mourned."""

    user_hash: bytes
    key_row: int
    subject: str
    erased_ms: int

    @property
    def life(self) -> ErasedUser:
        """What ended. The offset of the tombstone is not known yet, and not needed: a pseudonym is of one life."""
        return ErasedUser(self.key_row, 0, self.erased_ms)


class Companion:
    """Reads and writes of the file, beside those of `UserKeys`. Belongs to the writer's thread.

    Args:
        connection: for writing.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._fresh: dict[bytes, Place] = {}

    def fact(self, name: str) -> str:
        """A single value, "" when it was never set."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def set_fact(self, name: str, value: str) -> None:
        """Remember a single value."""
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    @property
    def slates_through(self) -> Watermark:
        """Position up to which the places of slates are on the disk."""
        return Watermark.parse(self.fact("slates_through"))

    def place_of(self, slate_hash: bytes) -> Place | None:
        """Where a slate is."""
        if slate_hash in self._fresh:
            return self._fresh[slate_hash]
        found = self._connection.execute(
            "SELECT part, part_offset FROM slates WHERE slate_hash = ?", (slate_hash,)
        ).fetchone()
        return None if found is None else (found[0], found[1])

    def add_places(self, places: Mapping[bytes, Place]) -> None:
        """Learn where slates are; on the disk with the next `flush`."""
        self._fresh.update(places)

    @property
    def unwritten(self) -> int:
        """Places that are not on the disk yet."""
        return len(self._fresh)

    def flush(self, through: Watermark) -> None:
        """Write the places, and up to where they are complete.

        Raises:
            sqlite3.Error: the disk is full or fails; they stay in memory.
        """
        with transaction(self._connection):
            rows = [(slate_hash, *place) for slate_hash, place in self._fresh.items()]
            self._connection.executemany("INSERT OR IGNORE INTO slates VALUES (?, ?, ?)", rows)
            self.set_fact("slates_through", str(through))
        self._fresh.clear()

    def begin_erasure(self, erasure: PendingErasure) -> None:
        """Note that a tombstone is owed; part of the transaction that destroys the key."""
        self._connection.execute("INSERT OR REPLACE INTO erasures VALUES (?, ?, ?, ?)", erasure)

    def pending_erasures(self) -> list[PendingErasure]:
        """Whose tombstone is owed."""
        return [PendingErasure(*row) for row in self._connection.execute("SELECT * FROM erasures ORDER BY key_row")]

    def subjects(self, lives: Sequence[ErasedUser]) -> list[str]:
        """The pseudonyms of ended lives, in their order."""
        known = keys_of(self._connection, [life.key_row for life in lives])
        return [known[life.key_row][0] for life in lives]

    def end_erasure(self, erasure: PendingErasure) -> None:
        """The tombstone is in the topic."""
        self._connection.execute("DELETE FROM erasures WHERE user_hash = ?", (erasure.user_hash,))


def keys_of(connection: sqlite3.Connection, key_rows: Collection[int]) -> dict[int, tuple[str, bytes]]:
    """Pseudonym and key by row; of erased users the key is zeros."""
    wanted, found = sorted(key_rows), {}
    for start in range(0, len(wanted), ROWS_A_QUERY):
        part = wanted[start : start + ROWS_A_QUERY]
        marks = ", ".join("?" * len(part))
        query = f"SELECT key_row, subject, key FROM keys WHERE key_row IN ({marks})"  # noqa: S608  # marks only
        found.update({row: (subject, key) for row, subject, key in connection.execute(query, part)})
    return found
