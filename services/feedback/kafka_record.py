"""A record of the log as a Kafka message.

The key chooses the partition and keeps order: a user's pseudonym, an item's id, or the hash of a slate about nobody.
The value is a head of 22 bytes (form, kind of hash, row of the key, keyed hash of the fact's id) and the payload,
sealed where it is a user's. The time stamp is when it was appended. No id of a user stands in a message.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final, NamedTuple

from services.feedback.keyed_hash import HASH_BYTES
from shared.domain.watermark import Watermark

HEAD: Final = struct.Struct("<BBI16s")
NO_HASH: Final = bytes(HASH_BYTES)
CLEAR, SEALED, TOMBSTONE = 0, 1, 2
"""Forms: about nobody; about a user; the erasure of a user, in the clear."""
NO_ID, EVENT_ID, SLATE_ID = 0, 1, 2
"""What the hash is of."""


class KafkaRecord(NamedTuple):
    """One record as it stands in the topic.

    Attributes:
        partition, offset: its place.
        recorded_ms: when it was appended, Unix milliseconds.
        key: what the partition was chosen by; of a user's record the pseudonym.
        form: CLEAR, SEALED or TOMBSTONE.
        id_kind, id_hash: see `EVENT_ID` and `SLATE_ID`.
        key_row: of the user's key, 0 = about nobody.
        payload: the fact's bytes in that form.
    """

    partition: int
    offset: int
    recorded_ms: int
    key: bytes
    form: int
    id_kind: int
    id_hash: bytes
    key_row: int
    payload: bytes

    @property
    def watermark(self) -> Watermark:
        """The position behind it."""
        return Watermark(((self.partition, self.offset + 1),))

    @property
    def subject(self) -> str:
        """The pseudonym of the user that it is about, "" for nobody."""
        return self.key.decode() if self.key_row else ""


def partition_of(key: bytes, partitions: int) -> int:
    """Where everything with this key goes. Not the library's own choice: that differs between clients."""
    return zlib.crc32(key) % partitions


def packed(form: int, id_kind: int, key_row: int, id_hash: bytes, payload: bytes) -> bytes:
    """The value of a message."""
    return HEAD.pack(form, id_kind, key_row, id_hash or NO_HASH) + payload


def unpacked(message: Any) -> KafkaRecord:
    """A message as a record.

    Raises:
        ValueError: it was not written by this adapter.
    """
    value, key = message.value(), message.key()
    if value is None or key is None or len(value) < HEAD.size:
        raise ValueError(f"message {message.offset()} of partition {message.partition()} is no record of the event log")
    form, id_kind, key_row, id_hash = HEAD.unpack_from(value)
    _, recorded_ms = message.timestamp()
    return KafkaRecord(
        message.partition(), message.offset(), recorded_ms, key, form, id_kind, id_hash, key_row, value[HEAD.size :]
    )
