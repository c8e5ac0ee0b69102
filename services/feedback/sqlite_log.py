"""`EventLog` on SQLite: the embedded default. Durable at each answer, one writer, any number of readers."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from services.feedback.group_commit import CommitLimits, GroupCommit
from services.feedback.keyed_hash import KeyedHash
from services.feedback.log_options import IDS_FOLDER, USER_RECORDS, LogOptions
from services.feedback.record_codec import Draft, draft, forget_ciphers, weight_of
from services.feedback.seen_ids import SeenIds
from services.feedback.sqlite_database import FILE, cannot_open, open_database, secret_of
from services.feedback.sqlite_folder import locked_folder
from services.feedback.sqlite_reader import SqliteReader
from services.feedback.sqlite_retention import ITEMS, Sweep
from services.feedback.sqlite_writer import SqliteWriter
from services.feedback.storage_errors import log_closed
from shared.domain.event_log import ErasureReceipt, Fact, LogBatch, SentEvent
from shared.domain.expiry import Expiry
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.kernel.clock import Clock
from shared.kernel.config import ConfigError
from shared.kernel.errors import ErrorReason, ServiceError


class SqliteEventLog:
    """The log. Made by `open_sqlite_log`; belongs to the event loop on which it was opened."""

    def __init__(self, writer: SqliteWriter, reader: SqliteReader, hashes: KeyedHash, limits: CommitLimits) -> None:
        self._writer = writer
        self._reader = reader
        self._hashes = hashes
        self._head = writer.head
        self._grown = asyncio.Event()
        self._closed = False
        self._commits = GroupCommit[Draft, int](writer.append, self._publish, limits)

    async def append(self, facts: Sequence[Fact | SentEvent]) -> Watermark:
        """Append facts in order, without those whose id is in the log already; durable when it returns.

        Raises:
            ServiceError: STORAGE_FULL, STORAGE_UNAVAILABLE (nothing was kept), NOT_READY (closed).
        """
        drafts = [draft(fact, self._hashes) for fact in facts]
        if not drafts:
            return await self.head()
        return Watermark.of(await self._commits.submit(drafts, weight_of(drafts)))

    async def tail(self, after: Watermark, *, follow: bool, batch_size: int = 500) -> AsyncIterator[LogBatch]:
        """Batches behind a position. A follower gets one empty batch when it has caught up for the first time.

        Raises:
            ServiceError: WATERMARK_INVALID, STORAGE_UNAVAILABLE, NOT_READY (closed).
        """
        position, last, told = self._checked(after), self._head, False
        while True:
            head, grown = self._head if follow else last, self._grown
            if self._closed:
                raise log_closed()
            if position < head:
                records = await self._reader.records(position, head, batch_size)
                position = records[-1].watermark.offset() if records else head
                yield LogBatch(records, Watermark.of(position), Watermark.of(head))
            elif not follow:
                return
            elif told:
                await grown.wait()
            else:
                told = True
                yield LogBatch((), Watermark.of(head), Watermark.of(head))

    async def head(self) -> Watermark:
        """The position behind the last record."""
        return Watermark.of(self._head)

    async def slate(self, recommendation_id: str) -> ServedSlate | None:
        """The first page's slate of an id; None: never served, or its user was erased."""
        fact = await self._reader.slate(self._hashes.slate(recommendation_id, 0))
        return fact if isinstance(fact, ServedSlate) else None

    async def user_records(self, user_id: str) -> AsyncIterator[LogBatch]:
        """Everything that is held about a user, oldest first."""
        identity = await self._commits.alone(lambda: self._writer.identity(user_id))
        position, head = 0, self._head
        while identity is not None and position < head:
            records, position = await self._reader.user_records(identity.key_row, position, head, USER_RECORDS)
            if records:
                yield LogBatch(records, Watermark.of(position), Watermark.of(head))

    async def erase(self, user_id: str) -> ErasureReceipt | None:
        """Destroy the user's key, append the tombstone, and leave no copy of the key in any file; None: not known.

        An erasure that came to no end, because the process or the call ended, is in the receipt of the next call.

        Raises:
            ServiceError: STORAGE_FULL (nothing was done), STORAGE_UNAVAILABLE (call again), NOT_READY (closed).
        """
        try:
            erased = await self._commits.alone(lambda: self._writer.erase(user_id))
        finally:
            self._publish(self._writer.head)
        if not erased:
            return None
        held = [await self._reader.held(each.key_row, each.offset - 1) for each in erased]
        await self._commits.alone(lambda: self._writer.untold.settle(erased))
        first = min((first for _, first in held if first), default=0)
        began, latest = Watermark.of(first) if first else None, erased[-1]
        return ErasureReceipt(Watermark.of(latest.offset), sum(count for count, _ in held), latest.erased_ms, began)

    async def expiry(self) -> Expiry:
        """What retention has taken out, see `ForgettingLog`."""
        return await self._commits.alone(self._writer.retention.expiry)

    async def expire(self, expiry: Expiry) -> Watermark:
        """Append an expiry in place of the last one.

        Raises:
            ServiceError: STORAGE_FULL, STORAGE_UNAVAILABLE, NOT_READY (closed).
        """
        head = await self._commits.alone(lambda: self._writer.expire(expiry))
        self._publish(head)
        return Watermark.of(head)

    async def sweep(self, border: str, recorded_before_ms: int, limit: int) -> tuple[int, int]:
        """Delete a few records that the last expiry names, see `ForgettingLog`; what nobody can read any more too.

        Raises:
            ServiceError: STORAGE_FULL, STORAGE_UNAVAILABLE, NOT_READY (closed).
        """
        retention = self._writer.retention
        after, expiry = await self._commits.alone(lambda: (retention.swept(border), retention.expiry()))
        rows = await self._reader.aged(after, recorded_before_ms, limit)
        if rows:
            gone = [row for row in rows if row.erased or expiry.drops(row.fact)]
            slates = [_slate_hash(row.fact, self._hashes) for row in gone if isinstance(row.fact, ServedSlate)]
            found = Sweep(border, rows[-1].offset, [row.offset for row in gone], slates)
            await self._commits.alone(lambda: self._writer.forget(found))
            return len(rows), len(gone)
        return 0, 0

    async def compact(self, recorded_before_ms: int, limit: int) -> tuple[int, int]:
        """Delete a few upserts of items that later ones replaced, see `ForgettingLog`.

        Raises:
            ServiceError: STORAGE_FULL, STORAGE_UNAVAILABLE, NOT_READY (closed).
        """
        after = await self._commits.alone(lambda: self._writer.retention.swept(ITEMS))
        upserts, through = await self._reader.upserts(after, self._head, recorded_before_ms, limit)
        if through == after:
            return 0, 0
        return through - after, await self._commits.alone(lambda: self._writer.compact(through, upserts))

    async def close(self) -> None:
        """Finish what waits to be written, end every reader, close the files."""
        await self._commits.close()
        self._closed = True
        self._grown.set()
        await self._reader.close()
        await asyncio.to_thread(self._writer.close)
        forget_ciphers()

    def _publish(self, head: int) -> None:
        if head > self._head:
            self._head = head
            self._grown.set()
            self._grown = asyncio.Event()

    def _checked(self, after: Watermark) -> int:
        if any(partition != 0 or offset > self._head for partition, offset in after.positions):
            message = f"the log never gave out the watermark {after}: it is of another log; begin without one"
            raise ServiceError(ErrorReason.WATERMARK_INVALID, message, metadata={"watermark": str(after)})
        return after.offset()


def _slate_hash(slate: ServedSlate, hashes: KeyedHash) -> bytes:
    return hashes.slate(slate.recommendation_id, slate.first_position)


@asynccontextmanager
async def open_sqlite_log(
    folder: Path, clock: Clock, options: LogOptions | None = None
) -> AsyncIterator[SqliteEventLog]:
    """Opens the log of a folder, or makes a new one; the folder is this process's alone while it is open.

    Raises:
        ConfigError: it cannot be opened; names the path and the remedy.
    """
    chosen = options or LogOptions()
    with locked_folder(folder), ExitStack() as files:
        writer, hashes = await asyncio.to_thread(_open_files, folder, clock, chosen, files)
        reader = SqliteReader(folder)
        log = SqliteEventLog(writer, reader, hashes, CommitLimits(chosen.group_bytes, chosen.waiting_bytes))
        try:
            yield log
        finally:
            await log.close()


def _open_files(folder: Path, clock: Clock, options: LogOptions, files: ExitStack) -> tuple[SqliteWriter, KeyedHash]:
    connection = open_database(folder)
    files.callback(connection.close)
    hashes = KeyedHash(secret_of(connection))
    try:
        seen = SeenIds.open(folder / IDS_FOLDER, options.run_ids)
        return SqliteWriter(connection, folder, hashes, seen, clock), hashes
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(cannot_open(folder / FILE, error)) from error
