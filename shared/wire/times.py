"""Instants: Unix milliseconds inside, `google.protobuf.Timestamp` on the wire. 0 and unset mean "not set"."""

from __future__ import annotations

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

FARTHEST_MS: Final = 2**61
"""Messages may carry any number of seconds. Beyond this, differences of two instants would not fit 64 bits."""


def time_to_proto(time_ms: int) -> Timestamp | None:
    """The wire form; None (field stays unset) for 0."""
    if not time_ms:
        return None
    seconds, rest = divmod(time_ms, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000)


def time_from_proto(time: Timestamp) -> int:
    """Unix milliseconds, at most `FARTHEST_MS` from 1970; 0 for an unset or zero timestamp."""
    time_ms = time.seconds * 1000 + time.nanos // 1_000_000
    return time_ms if -FARTHEST_MS <= time_ms <= FARTHEST_MS else FARTHEST_MS if time_ms > 0 else -FARTHEST_MS
