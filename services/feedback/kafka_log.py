"""`EventLog` on Kafka: for more than one disk can take. One writer, any number of readers, several partitions."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from services.feedback.group_commit import CommitLimits, GroupCommit
from services.feedback.kafka_client import LARGEST_PAYLOAD_BYTES, KafkaOptions, too_large, topic_partitions
from services.feedback.kafka_companion import FORM, Companion, KafkaFiles
from services.feedback.kafka_reader import open_reader
from services.feedback.kafka_record import partition_of
from services.feedback.kafka_writer import KafkaWriter
from services.feedback.keyed_hash import KeyedHash
from services.feedback.log_options import IDS_FOLDER, USER_RECORDS, LogOptions
from services.feedback.record_codec import Draft, draft, forget_ciphers, weight_of
from services.feedback.seen_ids import SeenIds
from services.feedback.sqlite_database import cannot_open, open_database, secret_of
from services.feedback.sqlite_folder import locked_folder
from services.feedback.storage_errors import log_closed
from shared.domain.event_log import ErasureReceipt, Fact, LogBatch, LogRecord, SentEvent
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.kernel.clock import Clock
from shared.kernel.config import ConfigError
from shared.kernel.errors import ErrorReason, ServiceError


class KafkaEventLog:
    """The log. Made by `open_kafka_log`; belongs to the event loop on which it was opened."""

    def __init__(self, writer: KafkaWriter, files: KafkaFiles, kafka: KafkaOptions, limits: CommitLimits) -> None:
        self._writer = writer
        self._files = files
        self._kafka = kafka
        self._head = writer.head
        self._grown = asyncio.Event()
        self._closed = False
        self._commits = GroupCommit[Draft, Watermark](writer.append, self._publish, limits)

    async def append(self, facts: Sequence[Fact | SentEvent]) -> Watermark:
        """Append facts in order, without those whose id is in the log already; durable when it returns.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE (call again with the same ids), OVERLOADED, MESSAGE_TOO_LARGE,
                STORAGE_FULL (of the local disk), NOT_READY (closed).
        """
        drafts = [draft(fact, self._files.hashes) for fact in facts]
        if not drafts:
            return await self.head()
        self._refuse_too_large(drafts)
        return await self._commits.submit(drafts, weight_of(drafts))

    def _refuse_too_large(self, drafts: Sequence[Draft]) -> None:
        """Before they fail in the topic, which costs the producer, and the other drafts of their group."""
        largest = max(len(each.payload) for each in drafts)
        if largest > LARGEST_PAYLOAD_BYTES:
            raise too_large(self._kafka, f"it has {largest} bytes, {LARGEST_PAYLOAD_BYTES} are taken: send less in it")

    async def tail(self, after: Watermark, *, follow: bool, batch_size: int = 500) -> AsyncIterator[LogBatch]:
        """Batches behind a position. A follower gets one empty batch when it has caught up for the first time.

        Raises:
            ServiceError: WATERMARK_INVALID, STORAGE_UNAVAILABLE, NOT_READY (closed).
        """
        position, last, told = self._checked(after), self._head, False
        async with open_reader(self._kafka, self._files.folder) as reader:
            await reader.assign(self._writer.partitions, position)
            while True:
                head, grown = self._head if follow else last, self._grown
                if self._closed:
                    raise log_closed()
                if not position.covers(head):
                    records, position = await reader.next(head, position, batch_size)
                    yield LogBatch(records, position, head.joined(position))
                elif not follow:
                    return
                elif told:
                    await grown.wait()
                else:
                    told = True
                    yield LogBatch((), position, position)

    async def head(self) -> Watermark:
        """The position behind the last record."""
        return self._head

    async def slate(self, recommendation_id: str) -> ServedSlate | None:
        """The first page's slate of an id; None: never served, past retention, or its user was erased."""
        slate_hash = self._files.hashes.slate(recommendation_id, 0)
        place = await self._commits.alone(lambda: self._writer.companion.place_of(slate_hash))
        if place is None:
            return None
        partition, offset = place
        before, behind = Watermark(((partition, offset),)), Watermark(((partition, offset + 1),))
        async with open_reader(self._kafka, self._files.folder) as reader:
            await reader.assign([partition], before)
            records, _ = await reader.next(behind, before, 1)
        fact = records[0].fact if records else None
        return fact if isinstance(fact, ServedSlate) else None

    async def user_records(self, user_id: str) -> AsyncIterator[LogBatch]:
        """Everything that is held about a user, oldest first: the user's partition is searched."""
        identity = await self._commits.alone(lambda: self._writer.identity(user_id))
        if identity is None:
            return
        async for records, position, head in self._of_subject(identity.subject, self._head):
            if records:
                yield LogBatch(tuple(records), position, head)

    async def erase(self, user_id: str) -> ErasureReceipt | None:
        """Destroy the user's key, leave no copy of it in any file, append the tombstone; None: not known.

        An erasure that came to no end, because the process or the call ended, is in the receipt of the next call.

        Raises:
            ServiceError: STORAGE_FULL (nothing was done), STORAGE_UNAVAILABLE (the key may be gone already: call
                again), NOT_READY (closed).
        """
        try:
            erased = await self._commits.alone(lambda: self._writer.erase(user_id))
        finally:
            self._publish(self._writer.head)
        if not erased:
            return None
        count, first, through = 0, None, self._head
        for subject in await self._commits.alone(lambda: self._writer.companion.subjects(erased)):
            async for records, _, _ in self._of_subject(subject, through):
                gone = [record.watermark for record in records if record.fact is None]
                count, first = count + len(gone), first or next(iter(gone), None)
        await self._commits.alone(lambda: self._writer.untold.settle(erased))
        return ErasureReceipt(through, count, erased[-1].erased_ms, first)

    async def close(self) -> None:
        """Finish what waits to be written, end every reader, close the files."""
        await self._commits.close()
        self._closed = True
        self._grown.set()
        await asyncio.to_thread(self._writer.close)
        forget_ciphers()

    async def _of_subject(
        self, subject: str, through: Watermark
    ) -> AsyncIterator[tuple[Sequence[LogRecord], Watermark, Watermark]]:
        partition = partition_of(subject.encode(), len(self._writer.partitions))
        position, head = Watermark(), Watermark(((partition, through.offset(partition)),))
        async with open_reader(self._kafka, self._files.folder) as reader:
            await reader.assign([partition], position)
            while not position.covers(head):
                records, position = await reader.next(head, position, USER_RECORDS, subject)
                yield records, position, head

    def _publish(self, head: Watermark) -> None:
        if not self._head.covers(head):
            self._head = self._head.joined(head)
            self._grown.set()
            self._grown = asyncio.Event()

    def _checked(self, after: Watermark) -> Watermark:
        if not self._head.covers(after):
            message = f"the log never gave out the watermark {after}: it is of another log; begin without one"
            raise ServiceError(ErrorReason.WATERMARK_INVALID, message, metadata={"watermark": str(after)})
        return after


@asynccontextmanager
async def open_kafka_log(
    folder: Path, clock: Clock, kafka: KafkaOptions, options: LogOptions | None = None
) -> AsyncIterator[KafkaEventLog]:
    """Opens the log of a topic and of the folder that holds its keys; both are this process's alone while it is open.

    Raises:
        ConfigError: it cannot be opened; names the setting or the path and the remedy.
    """
    chosen = options or LogOptions()
    with locked_folder(folder), ExitStack() as closing:
        files, writer = await asyncio.to_thread(_open_files, folder, clock, kafka, (chosen, closing))
        log = KafkaEventLog(writer, files, kafka, CommitLimits(chosen.group_bytes, chosen.waiting_bytes))
        try:
            yield log
        finally:
            await log.close()


def _open_files(
    folder: Path, clock: Clock, kafka: KafkaOptions, how: tuple[LogOptions, ExitStack]
) -> tuple[KafkaFiles, KafkaWriter]:
    options, closing = how
    connection = open_database(folder, FORM)
    closing.callback(connection.close)
    try:
        seen = SeenIds.open(folder / IDS_FOLDER, options.run_ids)
        files = KafkaFiles(connection, folder, KeyedHash(secret_of(connection)), seen)
        writer = KafkaWriter(files, kafka, _partitions(connection, kafka), clock)
        writer.open()
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(cannot_open(folder / FORM.file, error)) from error
    except ServiceError as error:
        raise ConfigError(error.message) from error
    return files, writer


def _partitions(connection: sqlite3.Connection, kafka: KafkaOptions) -> int:
    """As many as there were at first: another number would tear a user's order apart."""
    present, companion = topic_partitions(kafka), Companion(connection)
    topic, count = companion.fact("topic"), companion.fact("partitions")
    if not topic:
        companion.set_fact("topic", kafka.topic)
        companion.set_fact("partitions", str(present))
        return present
    if topic != kafka.topic or present < int(count):
        raise ConfigError(
            f"WINNOW_FEEDBACK_KAFKA_TOPIC={kafka.topic} with {present} partitions: the keys in this data folder are of "
            f"the topic {topic} with {count}; name that one, or set another WINNOW_DATA_DIR"
        )
    return int(count)
