"""What one group of the log in Kafka does: leave out repeats, seal, write as one transaction. Belongs to one thread.

Whatever fails, fails the group. Then the producer is given up; before the next group a new one takes its place, which
ends what the old one left unfinished, and the topic is read on from the last known position: records of a transaction
whose outcome was never heard are known from then on, and their repeats are left out.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from confluent_kafka import KafkaException

from services.feedback.kafka_client import KafkaOptions, kafka_errors, kafka_unavailable
from services.feedback.kafka_companion import Companion, KafkaFiles, PendingErasure, keys_of
from services.feedback.kafka_cursor import KafkaCursor
from services.feedback.kafka_record import (
    CLEAR,
    EVENT_ID,
    NO_ID,
    SEALED,
    SLATE_ID,
    TOMBSTONE,
    KafkaRecord,
    packed,
)
from services.feedback.kafka_transactions import KafkaTransactions, Message, Place
from services.feedback.keys import Identity, UserKeys
from services.feedback.record_codec import Draft, draw_nonces, forget_ciphers, seal
from services.feedback.sqlite_database import transaction, truncate_write_ahead
from services.feedback.storage_errors import COMPONENT, storage_errors
from services.feedback.telemetry import COMMIT_SECONDS, ERASURES, RECORDS, REPEATS
from services.feedback.untold_erasures import ErasedUser, UntoldErasures
from shared.domain.event_log import Erasure
from shared.domain.watermark import Watermark
from shared.kernel.clock import Clock
from shared.kernel.errors import ErrorReason, ServiceError
from shared.wire.log import fact_to_bytes

CATCH_UP_RECORDS: Final = 5_000
FLUSH_RECORDS: Final = 20_000
"""Records after which the places of slates are written; a start reads at most this much and what `SeenIds` says."""
RETRY_AFTER_S: Final = 1.0
"""A cluster that failed is not asked again sooner: meanwhile callers are answered at once."""

log = structlog.get_logger()


class KafkaWriter:
    """The only writer.

    Args:
        files: beside the topic.
        options: of the topic.
        partitions: to which records go; more that the topic gets later stay empty.
        clock: what time it is.
    """

    def __init__(self, files: KafkaFiles, options: KafkaOptions, partitions: int, clock: Clock) -> None:
        self._connection = files.connection
        self._folder = files.folder
        self._seen = files.seen
        self._hashes = files.hashes
        self._options = options
        self._clock = clock
        self._keys = UserKeys(files.connection, files.hashes)
        self._transactions = KafkaTransactions(options, partitions, clock)
        self._failed_at = -RETRY_AFTER_S
        self._old_key_in_write_ahead = False
        self._tombstones_owed = False
        self._learned = Watermark()  # ids and slates before it are known; while the topic is read on, `head` is ahead
        self._unflushed = 0
        self.companion = Companion(files.connection)
        self.untold = UntoldErasures(files.connection)
        self.partitions = range(partitions)
        self.head = self.companion.slates_through.joined(Watermark.parse(files.seen.through))

    def open(self) -> None:
        """Take the topic over and read what is not known of it yet.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE: the cluster does not answer, or the topic is not the one of these files.
        """
        self._learned = _lesser(self.companion.slates_through, Watermark.parse(self._seen.through))
        with storage_errors(self._folder), kafka_errors(self._options):
            self._take_over()

    def append(self, drafts: Sequence[Draft]) -> Watermark:
        """Write drafts that are not in the log yet; gives the position behind the log's last record.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE, OVERLOADED, MESSAGE_TOO_LARGE, STORAGE_FULL (of the local disk).
        """
        with storage_errors(self._folder), kafka_errors(self._options):
            self._ready()
            fresh = self._without_repeats(drafts)
            REPEATS.inc(len(drafts) - len(fresh))
            if not fresh:
                return self.head
            messages = self._messages(fresh, self._identities(fresh))
            slate_rows = [row for row, draft in enumerate(fresh) if draft.is_slate]
            with COMMIT_SECONDS.time():
                places = self._write(messages, slate_rows)
            self.companion.add_places({fresh[row].id_hash: places[row] for row in slate_rows})
            self._seen.add([draft.id_hash for draft in fresh if draft.id_hash and not draft.is_slate])
            RECORDS.inc(len(fresh))
            self._tend(len(fresh))
        return self.head

    def identity(self, user_id: str) -> Identity | None:
        """The present identity of a user; None when the log knows no such user.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE.
        """
        with storage_errors(self._folder):
            return self._keys.find(user_id)

    def erase(self, user_id: str) -> tuple[ErasedUser, ...]:
        """Destroy a user's key, then write the tombstone.

        The key is gone even where the topic cannot be written: a tombstone that is owed is written before the next
        group, and by a repeated call.

        Returns:
            Every life of the user whose receipt is owed; none when the log knows no such user.

        Raises:
            ServiceError: STORAGE_FULL (nothing was done), STORAGE_UNAVAILABLE (call again).
        """
        with storage_errors(self._folder), kafka_errors(self._options):
            user_hash = self._hashes.user(user_id)
            mourned = next((each for each in self.companion.pending_erasures() if each.user_hash == user_hash), None)
            if mourned is not None:
                self._ready()  # the user may have come back since: there may be a key again
            identity = self._keys.find(user_id)
            if identity is not None:
                mourned = PendingErasure(user_hash, identity.key_row, identity.subject, self._clock())
                with transaction(self._connection):
                    self._keys.destroy(user_id, identity)
                    self.companion.begin_erasure(mourned)
                    self.untold.note(user_hash, mourned.life)
                self._tombstones_owed = True
                forget_ciphers()
                ERASURES.inc()
                self._empty_write_ahead()
                self._ready()
            if self._old_key_in_write_ahead:
                self._empty_write_ahead()
            return self.untold.of(user_hash) or (() if mourned is None else (mourned.life,))

    def close(self) -> None:
        """Write what a quick start needs; nothing is waiting to be written."""
        try:
            self.companion.flush(self._learned)
        except sqlite3.Error as error:
            log.warning("kafka_companion.not_written", path=str(self._folder), reason=str(error))
        self._seen.close()
        self._transactions.end()
        self._connection.close()

    def _ready(self) -> None:
        """A producer that can write, and no tombstone that is owed."""
        if not self._transactions.ready:
            if time.monotonic() - self._failed_at < RETRY_AFTER_S:
                raise kafka_unavailable(self._options, "it failed a moment ago")
            self._take_over()
        elif self._tombstones_owed:
            self._mourn()

    def _take_over(self) -> None:
        try:
            self._transactions.begin()
            self._catch_up(self._learned)
            self._mourn()
        except (KafkaException, ServiceError):
            self._transactions.end()
            self._failed_at = time.monotonic()
            raise

    def _catch_up(self, start: Watermark) -> None:
        cursor = KafkaCursor(self._options)
        try:
            self._check_ends(cursor.ends(self.partitions))
            cursor.assign(self.partitions, start)
            while records := cursor.rest(len(self.partitions), CATCH_UP_RECORDS):
                self._learn(records)
        finally:
            cursor.close()

    def _check_ends(self, ends: Mapping[int, int]) -> None:
        if any(end < self.head.offset(partition) for partition, end in ends.items()):
            why = (
                f"it ends before what was acknowledged, {self.head}, so it was made anew or lost records: restore it, "
                f"or begin another log by moving {self._folder} away and naming another topic"
            )
            raise kafka_unavailable(self._options, why)

    def _learn(self, records: Sequence[KafkaRecord]) -> None:
        known = keys_of(self._connection, {record.key_row for record in records if record.key_row})
        for record in records:
            if record.key_row and known.get(record.key_row, ("", b""))[0] != record.subject:
                why = f"it holds records under keys that are not in {self._folder}: restore that, end other writers"
                raise kafka_unavailable(self._options, why)
        self._seen.add([record.id_hash for record in records if record.id_kind == EVENT_ID])
        slates = [record for record in records if record.id_kind == SLATE_ID]
        self.companion.add_places({record.id_hash: (record.partition, record.offset) for record in slates})
        behind = {record.partition: record.offset + 1 for record in records}
        self._advance(behind)
        self._tend(len(records))

    def _without_repeats(self, drafts: Sequence[Draft]) -> list[Draft]:
        taken = self._seen.known([draft.id_hash for draft in drafts if draft.id_hash and not draft.is_slate])
        taken |= {draft.id_hash for draft in drafts if draft.is_slate and self.companion.place_of(draft.id_hash)}
        fresh = []
        for draft in drafts:
            if draft.id_hash:
                if draft.id_hash in taken:
                    continue
                taken.add(draft.id_hash)
            fresh.append(draft)
        return fresh

    def _identities(self, drafts: Sequence[Draft]) -> dict[str, Identity]:
        """Keys are on the disk before a record that needs them is in the topic; one that is left over harms nobody."""
        identities, drawn = self._keys.of(draft.user_id for draft in drafts if draft.user_id)
        if drawn:
            with transaction(self._connection):
                self._keys.store(drawn)
        self._keys.remember(identities)
        return identities

    def _messages(self, drafts: Sequence[Draft], identities: dict[str, Identity]) -> list[Message]:
        messages = []
        for draft, nonce in zip(drafts, draw_nonces(len(drafts)), strict=True):
            kind = SLATE_ID if draft.is_slate else EVENT_ID if draft.id_hash else NO_ID
            if draft.user_id:
                key_row, subject, secret = identities[draft.user_id]
                key, sealed = subject.encode(), seal(secret, nonce, draft.payload)
                value = packed(SEALED, kind, key_row, draft.id_hash, sealed)
            else:
                key, value = draft.order_key, packed(CLEAR, kind, 0, draft.id_hash, draft.payload)
            messages.append(Message(key, value))
        return messages

    def _mourn(self) -> None:
        """Write the tombstones that are owed."""
        for erasure in self.companion.pending_erasures():
            value = packed(TOMBSTONE, NO_ID, erasure.key_row, b"", fact_to_bytes(Erasure(erasure.erased_ms)))
            self._write([Message(erasure.subject.encode(), value)], [])
            with transaction(self._connection):
                self.companion.end_erasure(erasure)
            self._old_key_in_write_ahead = not truncate_write_ahead(self._connection)
        self._tombstones_owed = False

    def _write(self, messages: Sequence[Message], asked: Sequence[int]) -> dict[int, Place]:
        places, behind = self._transactions.write(messages, asked)
        self._advance(behind)
        return places

    def _advance(self, behind: Mapping[int, int]) -> None:
        position = Watermark(tuple(sorted(behind.items())))
        self.head, self._learned = self.head.joined(position), self._learned.joined(position)

    def _tend(self, added: int) -> None:
        self._unflushed += added
        try:
            self._seen.tend(str(self._learned))
            if self._unflushed >= FLUSH_RECORDS:
                self.companion.flush(self._learned)
                self._unflushed = 0
        except (OSError, sqlite3.Error) as error:  # the records are durable: what is derived only stays in memory
            log.warning("kafka_companion.not_written", path=str(self._folder), reason=str(error))

    def _empty_write_ahead(self) -> None:
        self._old_key_in_write_ahead = not truncate_write_ahead(self._connection)
        if self._old_key_in_write_ahead:
            message = "the key is destroyed, but a reader of the file holds an old copy of it; call EraseUser again"
            raise ServiceError(ErrorReason.STORAGE_UNAVAILABLE, message, metadata={"component": COMPONENT})


def _lesser(one: Watermark, other: Watermark) -> Watermark:
    """The greatest position that both cover."""
    positions = ((partition, min(offset, other.offset(partition))) for partition, offset in one.positions)
    return Watermark(tuple(pair for pair in positions if pair[1]))
