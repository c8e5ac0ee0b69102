"""What one transaction of the embedded log does: leave out repeats, seal, write. Belongs to the writer's thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Final

import structlog

from services.feedback.keyed_hash import KeyedHash
from services.feedback.keys import Identity, UserKeys
from services.feedback.record_codec import CLEAR, SEALED, Draft, draw_nonces, forget_ciphers, seal
from services.feedback.seen_ids import SeenIds
from services.feedback.sqlite_compaction import ItemUpserts, Upsert
from services.feedback.sqlite_database import transaction, truncate_write_ahead
from services.feedback.sqlite_retention import ITEMS, RetentionTable, Sweep
from services.feedback.storage_errors import COMPONENT, storage_errors
from services.feedback.telemetry import COMMIT_SECONDS, ERASURES, RECORDS, REPEATS
from services.feedback.untold_erasures import ErasedUser, UntoldErasures
from shared.domain.event_log import Erasure
from shared.domain.expiry import Expiry
from shared.domain.watermark import Watermark
from shared.kernel.clock import Clock
from shared.kernel.errors import ErrorReason, ServiceError
from shared.wire.log import fact_to_bytes

Row = tuple[int, int, int, int, bytes | None, bytes]

INSERT: Final = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)"
INSERTS: Final = {rows: INSERT + ", (?, ?, ?, ?, ?, ?)" * (rows - 1) for rows in (512, 64, 8, 1)}
"""By rows, most first. `sqlite3` gives the interpreter's lock away and waits for it again around each statement, for
milliseconds where the event loop is busy: a group takes few statements, whatever its size."""
HASHES_AFTER: Final = """
SELECT log_offset, event_hash FROM log WHERE log_offset > ? AND event_hash IS NOT NULL ORDER BY log_offset
"""
REBUILD_IDS: Final = 50_000

log = structlog.get_logger()


class SqliteWriter:
    """The only writer.

    Args:
        connection: for writing.
        folder: of the log, for messages.
        hashes: of the log.
        seen: ids of events that are in the log.
        clock: what time it is.
    """

    def __init__(
        self, connection: sqlite3.Connection, folder: Path, hashes: KeyedHash, seen: SeenIds, clock: Clock
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._seen = seen
        self._clock = clock
        self._keys = UserKeys(connection, hashes)
        self.retention = RetentionTable(connection)
        self._upserts = ItemUpserts(connection)
        self._old_key_in_write_ahead = False
        self._hashes = hashes
        self.untold = UntoldErasures(connection)
        self.head: int = connection.execute("SELECT max(log_offset) FROM log").fetchone()[0] or 0
        self._catch_up()

    def append(self, drafts: Sequence[Draft]) -> int:
        """Write drafts that are not in the log yet, all or none; gives the offset of the log's last record.

        Raises:
            ServiceError: STORAGE_FULL, STORAGE_UNAVAILABLE; nothing was kept.
        """
        with storage_errors(self._folder):
            fresh = self._without_repeats(drafts)
            REPEATS.inc(len(drafts) - len(fresh))
            if not fresh:
                return self.head
            identities, drawn = self._keys.of(draft.user_id for draft in fresh if draft.user_id)
            rows = self._rows(fresh, identities)
            slates = [(draft.id_hash, row[0]) for draft, row in zip(fresh, rows, strict=True) if draft.is_slate]
            with COMMIT_SECONDS.time(), transaction(self._connection):
                if drawn:
                    self._keys.store(drawn)
                self._insert(rows)
                if slates:
                    self._connection.executemany("INSERT INTO slates VALUES (?, ?)", slates)
        self._keys.remember(identities)
        RECORDS.inc(len(rows))
        self._advance(rows)
        return self.head

    def identity(self, user_id: str) -> Identity | None:
        """The present identity of a user; None when the log knows no such user.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE.
        """
        with storage_errors(self._folder):
            return self._keys.find(user_id)

    def erase(self, user_id: str) -> tuple[ErasedUser, ...]:
        """Destroy a user's key and write the tombstone.

        Returns:
            Every life of the user whose receipt is owed, with those of earlier calls that came to no end; none when
            the log knows no such user.

        Raises:
            ServiceError: STORAGE_FULL, STORAGE_UNAVAILABLE.
        """
        with storage_errors(self._folder):
            if self._old_key_in_write_ahead:
                self._empty_write_ahead()
            identity = self._keys.find(user_id)
            user_hash = self._hashes.user(user_id)
            if identity is None:
                return self.untold.of(user_hash)
            now_ms = self._clock()
            tombstone = (self.head + 1, now_ms, identity.key_row, CLEAR, None, fact_to_bytes(Erasure(now_ms)))
            with transaction(self._connection):
                self._keys.destroy(user_id, identity)
                self._connection.execute(INSERT, tombstone)
                self.untold.note(user_hash, ErasedUser(identity.key_row, tombstone[0], now_ms))
            forget_ciphers()
            ERASURES.inc()
            self._advance([tombstone])
            self._empty_write_ahead()
            return self.untold.of(user_hash)

    def expire(self, expiry: Expiry) -> int:
        """Append an expiry in place of the last one; gives its offset.

        Raises:
            ServiceError: STORAGE_FULL, STORAGE_UNAVAILABLE.
        """
        row = (self.head + 1, self._clock(), 0, CLEAR, None, fact_to_bytes(expiry))
        with storage_errors(self._folder):
            with transaction(self._connection):
                self._connection.execute(INSERT, row)
                self.retention.replace(expiry, row[0])
            self._advance([row])
        return self.head

    def forget(self, sweep: Sweep) -> None:
        """Delete what a step of a sweep found.

        Raises:
            ServiceError: STORAGE_FULL, STORAGE_UNAVAILABLE.
        """
        with storage_errors(self._folder):
            with transaction(self._connection):
                self.retention.forget(sweep)
            self.retention.give_back()

    def compact(self, through: int, upserts: Sequence[Upsert]) -> int:
        """Delete what the next upserts replaced, now that the log was searched up to an offset; gives how many.

        Raises:
            ServiceError: STORAGE_FULL, STORAGE_UNAVAILABLE.
        """
        with storage_errors(self._folder):
            with transaction(self._connection):
                replaced = self._upserts.note(upserts)
                self.retention.forget(Sweep(ITEMS, through, replaced, ()))
            self.retention.give_back()
        return len(replaced)

    def close(self) -> None:
        """Close the connection; nothing is waiting to be written."""
        self._seen.close()
        self._connection.close()

    def _without_repeats(self, drafts: Sequence[Draft]) -> Sequence[Draft]:
        hashes = [draft.id_hash for draft in drafts if draft.id_hash]
        taken = self._seen.known([draft.id_hash for draft in drafts if draft.id_hash and not draft.is_slate])
        taken |= {draft.id_hash for draft in drafts if draft.is_slate and self._holds_slate(draft.id_hash)}
        if not taken and len(set(hashes)) == len(hashes):
            return drafts
        fresh = []
        for draft in drafts:
            if draft.id_hash:
                if draft.id_hash in taken:
                    continue
                taken.add(draft.id_hash)
            fresh.append(draft)
        return fresh

    def _holds_slate(self, slate_hash: bytes) -> bool:
        return (
            self._connection.execute("SELECT 1 FROM slates WHERE slate_hash = ?", (slate_hash,)).fetchone() is not None
        )

    def _rows(self, drafts: Sequence[Draft], identities: dict[str, Identity]) -> list[Row]:
        now_ms, offset = self._clock(), self.head
        rows: list[Row] = []
        for (payload, user_id, id_hash, is_slate, _), nonce in zip(drafts, draw_nonces(len(drafts)), strict=True):
            offset += 1
            event_hash = None if is_slate else id_hash or None
            if user_id:
                key_row, _, key = identities[user_id]
                rows.append((offset, now_ms, key_row, SEALED, event_hash, seal(key, nonce, payload)))
            else:
                rows.append((offset, now_ms, 0, CLEAR, event_hash, payload))
        return rows

    def _insert(self, rows: Sequence[Row]) -> None:
        start = 0
        for size, statement in INSERTS.items():
            while start + size <= len(rows):
                part = rows[start : start + size]
                self._connection.execute(statement, list(chain.from_iterable(part)))
                start += size

    def _advance(self, rows: Sequence[Row]) -> None:
        self.head = rows[-1][0]
        self._seen.add([row[4] for row in rows if row[4] is not None])
        self._tend(self.head)

    def _tend(self, through: int) -> None:
        try:
            self._seen.tend(str(Watermark.of(through)))
        except OSError as error:  # the records are durable: the set only stays longer in memory
            log.warning("seen_ids.not_written", path=str(self._folder), reason=str(error))

    def _empty_write_ahead(self) -> None:
        self._old_key_in_write_ahead = not truncate_write_ahead(self._connection)
        if self._old_key_in_write_ahead:
            message = "the key is destroyed, but a reader of the file holds an old copy of it; call EraseUser again"
            raise ServiceError(ErrorReason.STORAGE_UNAVAILABLE, message, metadata={"component": COMPONENT})

    def _catch_up(self) -> None:
        """Add the ids that the runs do not hold yet."""
        through = Watermark.parse(self._seen.through).offset()
        if through > self.head:  # the runs are of another log: a backup was restored without them
            self._seen.clear()
            through = 0
        rows = self._connection.execute(HASHES_AFTER, (through,))
        while found := rows.fetchmany(REBUILD_IDS):
            self._seen.add([event_hash for _, event_hash in found])
            self._tend(found[-1][0])
