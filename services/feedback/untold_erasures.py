"""Erasures whose receipt was not made yet: a restart, or an error, came in between.

To say what an erasure removed, the log is searched, which may outlast the process. So who was erased stays known, by
the keyed hash of the user's id, until the search has ended; then the hash leaves the files.
Belongs to the writer's thread.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

import structlog

from services.feedback.sqlite_database import transaction, truncate_write_ahead

TABLE: Final = """
CREATE TABLE IF NOT EXISTS untold_erasures (
    key_row INTEGER PRIMARY KEY,        -- one life of a user
    user_hash BLOB NOT NULL,
    log_offset INTEGER NOT NULL,        -- of the tombstone; 0 in Kafka
    erased_ms INTEGER NOT NULL
) STRICT
"""
OF_USER: Final = "SELECT key_row, log_offset, erased_ms FROM untold_erasures WHERE user_hash = ? ORDER BY key_row"
BLANK: Final = "UPDATE untold_erasures SET user_hash = zeroblob(length(user_hash)) WHERE key_row = ?"
"""In place, so that no copy of the hash stays in unused bytes of the page."""

log = structlog.get_logger()


class ErasedUser(NamedTuple):
    """Who was erased, the offset of the tombstone (0 in Kafka), and when."""

    key_row: int
    offset: int
    erased_ms: int


class UntoldErasures:
    """One row a life that was ended and is not accounted for.

    Args:
        connection: the writer's.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._told: set[int] = set()  # whose row the disk did not let go
        connection.execute(TABLE)

    def note(self, user_hash: bytes, erased: ErasedUser) -> None:
        """A receipt is owed; part of the transaction that destroys the key."""
        row = (erased.key_row, user_hash, erased.offset, erased.erased_ms)
        self._connection.execute("INSERT INTO untold_erasures VALUES (?, ?, ?, ?)", row)

    def of(self, user_hash: bytes) -> tuple[ErasedUser, ...]:
        """The lives of a user for which receipts are owed, oldest first."""
        rows = (ErasedUser(*row) for row in self._connection.execute(OF_USER, (user_hash,)))
        return tuple(row for row in rows if row.key_row not in self._told)

    def settle(self, erased: Sequence[ErasedUser]) -> None:
        """The receipt is made; rows that the disk does not let go leave with the next one's."""
        self._told |= {each.key_row for each in erased}
        rows = [(key_row,) for key_row in self._told]
        try:
            with transaction(self._connection):
                self._connection.executemany(BLANK, rows)
                self._connection.executemany("DELETE FROM untold_erasures WHERE key_row = ?", rows)
            truncate_write_ahead(self._connection)
        except sqlite3.Error as error:
            log.warning("untold_erasures.not_written", reason=str(error))
        else:
            self._told.clear()
