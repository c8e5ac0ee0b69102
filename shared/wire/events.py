"""Events and histories on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from winnow.v1 import event_pb2

from shared.domain.events import Event
from shared.domain.history import History
from shared.wire.times import time_from_proto, time_to_proto

_USUAL_S: Final = 1 << 40
"""Seconds of a time that needs no bound."""


def event_to_proto(event: Event) -> event_pb2.Event:
    """One event as a message."""
    message = event_pb2.Event()
    fill_event(message, event)
    return message


def fill_event(message: event_pb2.Event, event: Event) -> None:
    """Write an event into an empty message, which may be part of another one: half the price of copying it there."""
    message.event_id = event.event_id
    message.user_id = event.user_id
    message.item_id = event.item_id
    message.event_type = event.event_type  # type: ignore[assignment]  # an open enum: numbers of the future pass through
    if event.value is not None:
        message.value = event.value
    if event.event_time_ms:
        seconds, rest = divmod(event.event_time_ms, 1000)
        message.event_time.seconds = seconds
        message.event_time.nanos = rest * 1_000_000
    message.recommendation_id = event.recommendation_id
    message.session_id = event.session_id
    message.surface = event.surface
    message.target_id = event.target_id


def event_from_proto(message: event_pb2.Event) -> Event:
    """One event; an unset time is 0: the receiver puts its own. By place, because names cost a replay a tenth."""
    time = message.event_time
    seconds = time.seconds
    return Event(
        message.event_id,
        message.user_id,
        message.item_id,
        message.event_type,
        seconds * 1000 + time.nanos // 1_000_000 if _USUAL_S > seconds >= 0 else time_from_proto(time),
        message.value if message.HasField("value") else None,
        message.recommendation_id,
        message.session_id,
        message.surface,
        message.target_id,
    )


def history_to_proto(history: History) -> event_pb2.HistoryColumns:
    """A history as columns."""
    return event_pb2.HistoryColumns(
        item_ids=history.item_ids,
        event_types=history.event_types.tolist(),
        values=history.values.tolist(),
        times_ms=history.times_ms.tolist(),
        event_ids=history.event_ids,
    )


def history_from_proto(message: event_pb2.HistoryColumns) -> History:
    """A history from columns.

    Raises:
        ValueError: the columns have different lengths.
    """
    return History(
        tuple(message.item_ids),
        np.array(message.event_types, np.int32),
        np.array(message.values, np.float32),
        np.array(message.times_ms, np.int64),
        tuple(message.event_ids),
    )


def history_events_to_proto(history: History) -> Iterable[event_pb2.HistoryEvent]:
    """A history as one message an event: the form for clients."""
    ids = history.event_ids or ("",) * len(history)
    columns = zip(
        history.item_ids,
        history.event_types.tolist(),
        history.values.tolist(),
        history.times_ms.tolist(),
        ids,
        strict=True,
    )
    for item_id, event_type, value, time_ms, event_id in columns:
        yield event_pb2.HistoryEvent(
            item_id=item_id,
            event_type=event_type,
            value=None if value != value else value,  # noqa: PLR0124  # NaN is the only number unequal to itself
            event_time=time_to_proto(time_ms),
            event_id=event_id,
        )


def history_from_event_protos(messages: Iterable[event_pb2.HistoryEvent]) -> History:
    """The inverse of `history_events_to_proto`."""
    events = list(messages)
    return History(
        tuple(event.item_id for event in events),
        np.array([event.event_type for event in events], np.int32),
        np.array([event.value if event.HasField("value") else np.nan for event in events], np.float32),
        np.array([time_from_proto(event.event_time) for event in events], np.int64),
        tuple(event.event_id for event in events),
    )
