"""Events as they were sent. One that is plainly good goes into the log in its own bytes; every other goes the long way.

The long way runs each rule of the protos and says what is broken; it costs ten times what the log itself takes. The
short way only says "plainly good", asks for less than the rules allow, and takes its limits from the protos. What it
lets pass breaks no rule, and reads from the log as the long way's event does: a property test holds both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

from buf.validate import validate_pb2
from winnow.v1 import event_pb2

from services.feedback.validation import EARLIEST_MS, NEEDS_VALUE, TimeBounds, event_violations
from shared.domain.event_log import Fact, SentEvent
from shared.kernel.errors import FieldViolation
from shared.kernel.validation import violations
from shared.wire.events import event_from_proto
from shared.wire.log import sent_event_to_bytes

TEXTS: Final = ("event_id", "user_id", "item_id", "recommendation_id", "session_id", "target_id", "surface")
MOST_BYTES_A_CHARACTER: Final = 4


@dataclass(frozen=True, slots=True)
class ReadEvents:
    """N events of a request.

    Attributes:
        facts: (N,) what is appended, where nothing is broken.
        broken: violations by row.
    """

    facts: list[Fact | SentEvent]
    broken: dict[int, tuple[FieldViolation, ...]]


def read_events(messages: Sequence[event_pb2.Event], bounds: TimeBounds, now_ms: int) -> ReadEvents:
    """Check the events of a request.

    Args:
        messages: get the time of receipt where they carry none.
        bounds: of their times.
        now_ms: the time of receipt, above 0.
    """
    read = ReadEvents([], {})
    span = (max(EARLIEST_MS, bounds.expiry.keeps_events_from_ms), bounds.latest_ms)
    for row, message in enumerate(messages):
        fact: Fact | SentEvent | None = _plain(message, span, now_ms)
        if fact is None:
            fact, found = _checked(message, bounds, now_ms, f"events[{row}]")
            if found:
                read.broken[row] = found
        read.facts.append(fact)
    return read


def _plain(message: event_pb2.Event, span: tuple[int, int], now_ms: int) -> SentEvent | None:
    """The event in its bytes; None where one must look closer."""
    kind, event_id, user_id, item_id = message.event_type, message.event_id, message.user_id, message.item_id
    if kind <= 0 or not event_id or not user_id or not item_id:
        return None
    if not isfinite(message.value) or (kind in NEEDS_VALUE and not message.HasField("value")):
        return None
    surface = message.surface
    longest = max(
        len(event_id), len(user_id), len(item_id), len(message.recommendation_id), len(message.session_id),
        len(message.target_id),
    )  # fmt: skip
    if (longest > SHORT_ID or len(surface) > SHORT_SURFACE) and not _fit(message):
        return None
    time = message.event_time
    time_ms = time.seconds * 1000 + time.nanos // 1_000_000
    if not time_ms:
        time.seconds, rest = divmod(now_ms, 1000)
        time.nanos = rest * 1_000_000
    elif not span[0] <= time_ms <= span[1]:
        return None
    return SentEvent(event_id, user_id, sent_event_to_bytes(message))


def _checked(
    message: event_pb2.Event, bounds: TimeBounds, now_ms: int, path: str
) -> tuple[Fact, tuple[FieldViolation, ...]]:
    found, event = violations(message, path), event_from_proto(message)
    dated = event if event.event_time_ms else event._replace(event_time_ms=now_ms)
    return dated, found + event_violations(dated, bounds, path)


def _fit(message: event_pb2.Event) -> bool:
    return all(len(getattr(message, name).encode()) <= limit for name, limit in LIMITS.items())


def _limit(name: str) -> int:
    """Bytes that a field may have."""
    options = event_pb2.Event.DESCRIPTOR.fields_by_name[name].GetOptions()
    return int(options.Extensions[validate_pb2.field].string.max_bytes)


LIMITS: Final = {name: _limit(name) for name in TEXTS}
SHORT_SURFACE: Final = LIMITS["surface"] // MOST_BYTES_A_CHARACTER
SHORT_ID: Final = min(limit for name, limit in LIMITS.items() if name != "surface") // MOST_BYTES_A_CHARACTER
"""Characters that fit in any alphabet."""
