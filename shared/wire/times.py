"""Instants: Unix milliseconds inside, `google.protobuf.Timestamp` on the wire. 0 and unset mean "not set"."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp


def time_to_proto(time_ms: int) -> Timestamp | None:
    """The wire form; None (field stays unset) for 0."""
    if not time_ms:
        return None
    seconds, rest = divmod(time_ms, 1000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000_000)


def time_from_proto(time: Timestamp) -> int:
    """Unix milliseconds; 0 for an unset or zero timestamp."""
    return time.seconds * 1000 + time.nanos // 1_000_000
