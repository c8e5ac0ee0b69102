"""Runs of records out of the topic: messages, keys, facts. Each reader has a thread, a consumer and a connection."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import InvalidTag

from services.feedback.kafka_client import KafkaOptions, kafka_errors, kafka_unavailable
from services.feedback.kafka_companion import FORM, keys_of
from services.feedback.kafka_cursor import KafkaCursor
from services.feedback.kafka_record import SEALED, KafkaRecord
from services.feedback.record_codec import ERASED_KEY, unseal
from services.feedback.sqlite_database import connect
from services.feedback.storage_errors import storage_errors
from shared.domain.event_log import Fact, LogRecord
from shared.domain.watermark import Watermark
from shared.wire.log import fact_from_bytes

Answer = TypeVar("Answer")


class KafkaReader:
    """Reads of one position after the other. Made by `open_reader`.

    Args:
        options: of the topic.
        folder: of the companion file.
        thread: in which everything runs.
    """

    def __init__(self, options: KafkaOptions, folder: Path, thread: ThreadPoolExecutor) -> None:
        self._options = options
        self._folder = folder
        self._thread = thread
        self._cursor: KafkaCursor | None = None
        self._keys: sqlite3.Connection | None = None

    async def assign(self, partitions: Sequence[int], after: Watermark) -> None:
        """Go to a position of these partitions.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE.
        """
        await self._run(lambda: self._opened().assign(partitions, after))

    async def next(
        self, until: Watermark, done: Watermark, limit: int, subject: str | None = None
    ) -> tuple[tuple[LogRecord, ...], Watermark]:
        """The next records, see `KafkaCursor.next`; with a subject those of one user only, maybe none.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE.
        """
        return await self._run(lambda: self._next(until, done, limit, subject))

    def close(self) -> None:
        """Let go of the cluster and of the file; in the reader's thread."""
        if self._cursor is not None:
            self._cursor.close()
        if self._keys is not None:
            self._keys.close()

    def _next(
        self, until: Watermark, done: Watermark, limit: int, subject: str | None
    ) -> tuple[tuple[LogRecord, ...], Watermark]:
        records, behind = self._opened().next(until, done, limit)
        if subject is not None:
            records = [record for record in records if record.subject == subject]
        return self._decoded(records), behind

    def _decoded(self, records: Sequence[KafkaRecord]) -> tuple[LogRecord, ...]:
        if self._keys is None:
            self._keys = connect(self._folder / FORM.file, read_only=True)
        keys = keys_of(self._keys, {record.key_row for record in records if record.form == SEALED})
        return tuple(
            LogRecord(record.watermark, record.recorded_ms, record.subject, self._fact(record, keys))
            for record in records
        )

    def _fact(self, record: KafkaRecord, keys: dict[int, tuple[str, bytes]]) -> Fact | None:
        if record.form != SEALED:
            return fact_from_bytes(record.payload)
        _, key = keys.get(record.key_row, ("", ERASED_KEY))
        if key == ERASED_KEY:
            return None
        try:
            return fact_from_bytes(unseal(key, record.payload))
        except InvalidTag as error:
            why = f"record {record.offset} of partition {record.partition} is damaged"
            raise kafka_unavailable(self._options, why) from error

    def _opened(self) -> KafkaCursor:
        if self._cursor is None:
            self._cursor = KafkaCursor(self._options)
        return self._cursor

    async def _run(self, read: Callable[[], Answer]) -> Answer:
        def guarded() -> Answer:
            with storage_errors(self._folder), kafka_errors(self._options):
                return read()

        return await asyncio.get_running_loop().run_in_executor(self._thread, guarded)


@asynccontextmanager
async def open_reader(options: KafkaOptions, folder: Path) -> AsyncIterator[KafkaReader]:
    """A reader until the block ends; then its thread finishes by itself, so that nobody waits for a slow cluster."""
    thread = ThreadPoolExecutor(1, "log-reader")
    reader = KafkaReader(options, folder, thread)
    try:
        yield reader
    finally:
        thread.submit(reader.close)
        thread.shutdown(wait=False)
