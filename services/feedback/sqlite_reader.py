"""Reads runs of records: rows, keys, facts. Each call runs in a thread that has a connection of its own."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from cryptography.exceptions import InvalidTag

from services.feedback.record_codec import CLEAR, ERASED_KEY, unseal
from services.feedback.sqlite_compaction import Upsert
from services.feedback.sqlite_database import FILE, connect
from services.feedback.storage_errors import damaged_record, storage_errors
from shared.domain.event_log import Fact, LogRecord
from shared.domain.items import Item
from shared.domain.watermark import Watermark
from shared.wire.log import fact_from_bytes

Row = tuple[int, int, int, bytes, str | None, bytes | None]
Answer = TypeVar("Answer")

LAST: Final = 2**63 - 1
THREADS: Final = 2
BATCH_BYTES: Final = 1 << 20
"""A batch ends behind the record that fills this: slates are large, and a batch is a message."""
SCAN_ROWS: Final = 50_000
"""Rows that one scan looks at before it lets go of the file."""

COLUMNS: Final = "SELECT log_offset, recorded_ms, form, payload, subject, key FROM log LEFT JOIN keys USING (key_row)"
RANGE: Final = f"{COLUMNS} WHERE log_offset > ? AND log_offset <= ? ORDER BY log_offset LIMIT ?"
USER_RANGE: Final = (
    f"{COLUMNS} WHERE log_offset > ? AND log_offset <= ? AND log.key_row = ? ORDER BY log_offset LIMIT ?"
)
ABOUT_NOBODY: Final = """
SELECT log_offset, recorded_ms, payload FROM log
WHERE log_offset > ? AND log_offset <= ? AND key_row = 0 ORDER BY log_offset
"""
ONE_SLATE: Final = f"{COLUMNS} JOIN slates USING (log_offset) WHERE slate_hash = ?"
HELD: Final = "SELECT count(*), min(log_offset) FROM log WHERE log_offset > ? AND log_offset <= ? AND key_row = ?"


class AgedRow(NamedTuple):
    """A row that retention looks at. `erased`: nobody can read it any more."""

    offset: int
    erased: bool
    fact: Fact | None


class SqliteReader:
    """Reads of one log; any number at a time.

    Args:
        folder: of the log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(THREADS, "log-reader")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    async def records(self, after: int, through: int, limit: int) -> tuple[LogRecord, ...]:
        """At most `limit` records behind an offset, fewer when they are large; none: there is none up to `through`."""
        return await self._run(lambda db: self._decoded(db.execute(RANGE, (after, through, limit))))

    async def user_records(
        self, key_row: int, after: int, through: int, limit: int
    ) -> tuple[tuple[LogRecord, ...], int]:
        """The next records of an identity, and the offset up to which the log was searched for them."""
        stop = min(after + SCAN_ROWS, through)
        records = await self._run(lambda db: self._decoded(db.execute(USER_RANGE, (after, stop, key_row, limit))))
        return records, records[-1].watermark.offset() if records else stop

    async def held(self, key_row: int, through: int) -> tuple[int, int]:
        """How many records of an identity there are up to an offset, and the offset of the first; 0 where none is."""
        total, first = 0, 0
        for after in range(0, through, SCAN_ROWS):
            arguments = (after, min(after + SCAN_ROWS, through), key_row)
            count, offset = await self._run(partial(_held, arguments))
            total, first = total + count, first or offset
        return total, first

    async def aged(self, after: int, recorded_before_ms: int, limit: int) -> list[AgedRow]:
        """The next rows behind an offset, up to one recorded too late; fewer than `limit` when they are large."""
        return await self._run(lambda db: self._aged(db.execute(RANGE, (after, LAST, limit)), recorded_before_ms))

    async def upserts(self, after: int, through: int, recorded_before_ms: int, limit: int) -> tuple[list[Upsert], int]:
        """The next upserts of items, up to one recorded too late, and the offset up to which all were found."""
        stop = min(after + SCAN_ROWS, through)
        return await self._run(
            lambda db: _upserts(db.execute(ABOUT_NOBODY, (after, stop)), recorded_before_ms, stop, limit)
        )

    async def slate(self, slate_hash: bytes) -> Fact | None:
        """The fact of a slate's hash; None when it is not there or its user was erased."""
        records = await self._run(lambda db: self._decoded(db.execute(ONE_SLATE, (slate_hash,))))
        return records[0].fact if records else None

    async def close(self) -> None:
        """End the threads after the reads that are under way."""
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        for connection in self._connections:
            connection.close()

    async def _run(self, read: Callable[[sqlite3.Connection], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, read)

    def _read(self, read: Callable[[sqlite3.Connection], Answer]) -> Answer:
        with storage_errors(self._folder):
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = connect(self._folder / FILE, read_only=True)
                self._connections.append(connection)
            return read(connection)

    def _decoded(self, rows: Iterable[Row]) -> tuple[LogRecord, ...]:
        records, size = [], 0
        for offset, recorded_ms, form, payload, subject, key in rows:
            fact = self._fact(offset, form, payload, key)
            records.append(LogRecord(Watermark(((0, offset),)), recorded_ms, subject or "", fact))
            size += len(payload)
            if size >= BATCH_BYTES:
                break
        return tuple(records)

    def _aged(self, rows: Iterable[Row], recorded_before_ms: int) -> list[AgedRow]:
        found: list[AgedRow] = []
        size = 0
        for offset, recorded_ms, form, payload, _, key in rows:
            if recorded_ms >= recorded_before_ms or size >= BATCH_BYTES:
                break
            found.append(AgedRow(offset, key == ERASED_KEY and form != CLEAR, self._fact(offset, form, payload, key)))
            size += len(payload)
        return found

    def _fact(self, offset: int, form: int, payload: bytes, key: bytes | None) -> Fact | None:
        if form == CLEAR:
            return fact_from_bytes(payload)
        if key is None or key == ERASED_KEY:
            return None
        try:
            return fact_from_bytes(unseal(key, payload))
        except InvalidTag as error:
            raise damaged_record(self._folder / FILE, offset) from error


def _held(arguments: tuple[int, int, int], connection: sqlite3.Connection) -> tuple[int, int]:
    count, first = connection.execute(HELD, arguments).fetchone()
    return count, first or 0


def _upserts(
    rows: Iterable[tuple[int, int, bytes]], recorded_before_ms: int, stop: int, limit: int
) -> tuple[list[Upsert], int]:
    found: list[Upsert] = []
    for offset, recorded_ms, payload in rows:
        if recorded_ms >= recorded_before_ms or len(found) == limit:
            return found, offset - 1
        fact = fact_from_bytes(payload)
        if isinstance(fact, Item):
            found.append((fact.item_id, offset))
    return found, stop
