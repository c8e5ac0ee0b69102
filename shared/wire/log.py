"""Log records on the wire, and their facts as bytes in the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, assert_never

from winnow.v1 import event_pb2, log_pb2, slate_pb2

from shared.domain.event_log import Erasure, Fact, ItemDeletion, LogRecord
from shared.domain.events import Event
from shared.domain.expiry import Expiry
from shared.domain.items import Item, User
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.wire.events import event_from_proto, fill_event
from shared.wire.items import item_from_proto, item_to_proto, user_from_proto, user_to_proto
from shared.wire.slates import slate_to_proto, unread_bytes, unread_slate
from shared.wire.times import time_from_proto, time_to_proto


def fact_to_proto(fact: Fact) -> log_pb2.LogRecord:
    """A record that holds the fact only: its place in the log is not known yet."""
    match fact:
        case Event():
            return _event_record(fact)
        case ServedSlate():
            return log_pb2.LogRecord(slate=slate_to_proto(fact))
        case Item():
            return log_pb2.LogRecord(item=item_to_proto(fact))
        case ItemDeletion():
            return log_pb2.LogRecord(deleted_item_id=fact.item_id)
        case User():
            return log_pb2.LogRecord(user=user_to_proto(fact))
        case Erasure() | Expiry():
            return _marker_record(fact)
        case _:
            assert_never(fact)


def fact_from_proto(message: log_pb2.LogRecord) -> Fact | None:
    """The fact; None when its payload is gone or its kind is of the future."""
    kind = message.WhichOneof("fact")
    return None if kind is None else _READERS[kind](message)


def fact_to_bytes(fact: Fact) -> bytes:
    """The fact as the log stores it."""
    return fact_to_proto(fact).SerializeToString()


def fact_from_bytes(payload: bytes) -> Fact | None:
    """The inverse; None for a kind of the future."""
    message = log_pb2.LogRecord.FromString(payload)
    start = payload[:1]
    if start == _EVENT_START:  # most facts are events
        return event_from_proto(message.event)
    if start == _SLATE_START:
        return unread_slate(message.slate, _inner(payload))
    return fact_from_proto(message)


def sent_event_to_bytes(message: event_pb2.Event) -> bytes:
    """What `fact_to_bytes` gives for an event, without making one of its message. Drops fields of the future."""
    message.DiscardUnknownFields()
    sent = message.SerializeToString()
    size = len(sent)
    if size < _ONE_BYTE:
        return bytes((_EVENT_TAG, size)) + sent
    if size < _TWO_BYTES:
        return bytes((_EVENT_TAG, size % _ONE_BYTE + _ONE_BYTE, size // _ONE_BYTE)) + sent
    return log_pb2.LogRecord(event=message).SerializeToString()


def record_to_proto(record: LogRecord) -> log_pb2.LogRecord:
    """One record at its place."""
    message = log_pb2.LogRecord()
    fill_record(message, record)
    return message


def fill_record(message: log_pb2.LogRecord, record: LogRecord) -> None:
    """Write a record into an empty message, which may be part of another one: a copy of it there costs as much."""
    watermark, recorded_ms, subject, fact = record
    if isinstance(fact, Event):
        message.event.SetInParent()  # an event of defaults only is still one
        fill_event(message.event, fact)
    elif isinstance(fact, ServedSlate):
        _fill_slate(message.slate, fact)
    elif fact is not None:
        message.CopyFrom(fact_to_proto(fact))
    message.watermark = str(watermark)
    message.subject = subject
    if recorded_ms:
        seconds, rest = divmod(recorded_ms, 1000)
        message.recorded_time.seconds = seconds
        message.recorded_time.nanos = rest * 1_000_000


def record_from_proto(message: log_pb2.LogRecord) -> LogRecord:
    """One record at its place."""
    return LogRecord(
        watermark=Watermark.parse(message.watermark),
        recorded_ms=time_from_proto(message.recorded_time),
        subject=message.subject,
        fact=fact_from_proto(message),
    )


def _event_record(event: Event) -> log_pb2.LogRecord:
    message = log_pb2.LogRecord()
    message.event.SetInParent()  # an event of defaults only is still one
    fill_event(message.event, event)
    return message


def _fill_slate(message: slate_pb2.ServedSlate, slate: ServedSlate) -> None:
    stored = unread_bytes(slate)
    if stored is not None:
        message.MergeFromString(stored)
        message.SetInParent()
    else:
        message.CopyFrom(slate_to_proto(slate))


def _inner(payload: bytes) -> bytes:
    """The bytes of the only field of a message: behind its tag stands its length, of which the last byte is small."""
    end = 1
    while payload[end] >= _ONE_BYTE:
        end += 1
    return payload[end + 1 :]


def _marker_record(fact: Erasure | Expiry) -> log_pb2.LogRecord:
    if isinstance(fact, Erasure):
        return log_pb2.LogRecord(erasure=log_pb2.Erasure(requested_time=time_to_proto(fact.requested_ms)))
    expiry = log_pb2.Expiry(
        events_before_time=time_to_proto(fact.events_before_ms),
        impressions_before_time=time_to_proto(fact.impressions_before_ms),
        slates_before_time=time_to_proto(fact.slates_before_ms),
    )
    return log_pb2.LogRecord(expiry=expiry)


def _expiry_from_proto(message: log_pb2.Expiry) -> Expiry:
    return Expiry(
        time_from_proto(message.events_before_time),
        time_from_proto(message.impressions_before_time),
        time_from_proto(message.slates_before_time),
    )


_EVENT_TAG: Final = log_pb2.LogRecord.DESCRIPTOR.fields_by_name["event"].number << 3 | 2
"""How a message field begins on the wire (https://protobuf.dev/programming-guides/encoding); its length follows, seven
bits a byte."""
_EVENT_START: Final = bytes((_EVENT_TAG,))
_SLATE_START: Final = bytes((log_pb2.LogRecord.DESCRIPTOR.fields_by_name["slate"].number << 3 | 2,))
_ONE_BYTE: Final = 1 << 7
_TWO_BYTES: Final = 1 << 14
_READERS: dict[str, Callable[[log_pb2.LogRecord], Fact]] = {
    "event": lambda message: event_from_proto(message.event),
    "slate": lambda message: unread_slate(message.slate, message.slate.SerializeToString()),
    "item": lambda message: item_from_proto(message.item),
    "deleted_item_id": lambda message: ItemDeletion(message.deleted_item_id),
    "user": lambda message: user_from_proto(message.user),
    "erasure": lambda message: Erasure(time_from_proto(message.erasure.requested_time)),
    "expiry": lambda message: _expiry_from_proto(message.expiry),
}
