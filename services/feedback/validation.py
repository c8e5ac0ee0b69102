"""The rules that the protos cannot say: what one field asks of another, and of the clock. Pure functions.

Rules of single fields stand in the protos and are run from there (`shared.kernel.validation`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.feedback.retention import RetentionAges
from shared.domain.events import Event, EventType
from shared.domain.expiry import Expiry
from shared.domain.items import Item
from shared.domain.slates import Rows, ServedSlate
from shared.kernel.errors import FieldViolation

EARLIEST_MS: Final = -62_135_596_800_000
LATEST_MS: Final = 253_402_300_799_999
"""The years 1 and 9999: the range of `google.protobuf.Timestamp`."""
NEEDS_VALUE: Final = {int(EventType.RATING): "the rating", int(EventType.DWELL): "the time spent, in seconds"}


@dataclass(frozen=True, slots=True)
class TimeRules:
    """What is asked of the time of an event or a slate, by the moment of its receipt.

    Attributes:
        future_skew_ms: how far in the future it may lie.
        retention: what is older than its kind is kept is not taken.
    """

    future_skew_ms: int
    retention: RetentionAges = RetentionAges()  # noqa: RUF009  # immutable

    def at(self, now_ms: int) -> TimeBounds:
        """The bounds of a moment."""
        return TimeBounds(now_ms + self.future_skew_ms, self.retention.expiry(now_ms))


@dataclass(frozen=True, slots=True)
class TimeBounds:
    """The latest permitted time, and what events are too old."""

    latest_ms: int
    expiry: Expiry = Expiry()  # noqa: RUF009  # immutable


Rule = tuple[str, str]
"""A field and what is wrong with it."""


def event_violations(event: Event, bounds: TimeBounds, prefix: str = "") -> tuple[FieldViolation, ...]:
    """Every broken rule of an event.

    Args:
        event: with the time of receipt where the client sent none.
        bounds: of its time.
        prefix: path of the event in its request, e.g. `events[3]`.
    """
    return _under(prefix, _event_rules(event, bounds))


def item_violations(item: Item, attribute_names: Iterable[str], prefix: str = "") -> tuple[FieldViolation, ...]:
    """Every broken rule of an item; the names of its attributes are passed as they were sent, repeats too."""
    return _under(prefix, _item_rules(item, attribute_names))


def attribute_violations(attribute_names: Iterable[str], prefix: str = "") -> tuple[FieldViolation, ...]:
    """Names that occur twice."""
    return _under(prefix, _attribute_rules(attribute_names))


def slate_violations(slate: ServedSlate, bounds: TimeBounds, prefix: str = "") -> tuple[FieldViolation, ...]:
    """Every rule of a slate: who reads it later relies on its time, and on columns that fit its candidates."""
    return _under(prefix, _slate_rules(slate, bounds))


def _event_rules(event: Event, bounds: TimeBounds) -> Iterator[Rule]:
    kind = event.event_type
    if not event.user_id:
        yield "user_id", "is required: feedback is always a user's"
    if kind < 0:
        yield "event_type", f"{kind} is no kind of event: send a value of EventType"
    if not event.item_id and kind != EventType.FOLLOW and not (kind == EventType.HIDE and event.target_id):
        yield "item_id", "is required for every kind of event but follow, and hide of a target_id"
    if kind == EventType.FOLLOW and not (event.target_id or event.item_id):
        yield "target_id", "is required for follow: whom or what the user follows"
    if event.value is None and kind in NEEDS_VALUE:
        yield "value", f"is required for {EventType(kind).label}: {NEEDS_VALUE[kind]}"
    if event.event_time_ms > bounds.latest_ms:
        yield "event_time", _too_far_ahead(event.event_time_ms, bounds)
    if event.event_time_ms < EARLIEST_MS:
        yield "event_time", "lies before the year 1"
    elif bounds.expiry.drops(event):
        yield "event_time", "is longer ago than events of this kind are kept: see WINNOW_FEEDBACK_RETENTION_…_DAYS"


def _item_rules(item: Item, attribute_names: Iterable[str]) -> Iterator[Rule]:
    times = {
        "available_from_time": item.available_from_ms,
        "available_until_time": item.available_until_ms,
        "created_time": item.created_ms,
    }
    for field, time_ms in times.items():
        if not EARLIEST_MS <= time_ms <= LATEST_MS:
            yield field, "lies outside the years 1 to 9999"
    if item.available_until_ms and item.available_until_ms <= item.available_from_ms:
        yield "available_until_time", "is not later than available_from_time: the item would never be available"
    yield from _attribute_rules(attribute_names)


def _slate_rules(slate: ServedSlate, bounds: TimeBounds) -> Iterator[Rule]:
    if not slate.recommendation_id:
        yield "recommendation_id", "is required"
    if not EARLIEST_MS <= slate.served_ms <= LATEST_MS:
        yield "served_time", "lies outside the years 1 to 9999"
    elif slate.served_ms > bounds.latest_ms:
        yield "served_time", _too_far_ahead(slate.served_ms, bounds)
    yield from _column_rules(slate)


def _column_rules(slate: ServedSlate) -> Iterator[Rule]:
    count = len(slate.candidates)
    if len(slate.action_weights) != len(slate.actions):
        yield "action_weights", f"has {len(slate.action_weights)} values for {len(slate.actions)} actions"
    if len(slate.values) != count:
        yield "values", f"has {len(slate.values)} values for {count} candidates"
    if len(slate.propensities) != len(slate.shown_rows):
        yield "propensities", f"has {len(slate.propensities)} values for {len(slate.shown_rows)} shown rows"
    order = np.concatenate((slate.shown_rows, slate.reserve_rows))
    if len(np.unique(order)) != len(order):
        yield "reserve_rows", "names a row that is shown, or in the reserve, already"
    for field, rows in _row_columns(slate):
        if ((rows < 0) | (rows >= count)).any():
            yield field, f"names a row outside the {count} candidates"
    for place, hits in enumerate(slate.sources):
        if len(hits.scores) != len(hits.rows):
            yield f"sources[{place}].scores", f"has {len(hits.scores)} values for {len(hits.rows)} rows"


def _row_columns(slate: ServedSlate) -> Iterator[tuple[str, Rows]]:
    yield "shown_rows", slate.shown_rows
    yield "reserve_rows", slate.reserve_rows
    yield "evidence.rows", slate.evidence.rows
    yield from (("labels.rows", rows) for rows in slate.labels.rows)
    yield from ((f"sources[{place}].rows", hits.rows) for place, hits in enumerate(slate.sources))


def _attribute_rules(names: Iterable[str]) -> Iterator[Rule]:
    for name, count in Counter(iter(names)).items():
        if count > 1:
            yield "attributes", f"{name!r} occurs {count} times: each name may occur once"


def _too_far_ahead(time_ms: int, bounds: TimeBounds) -> str:
    ahead_s = (time_ms - bounds.latest_ms + 999) // 1000
    return f"is {ahead_s} s further in the future than is permitted: set the sender's clock"


def _under(prefix: str, rules: Iterator[Rule]) -> tuple[FieldViolation, ...]:
    start = f"{prefix}." if prefix else ""
    return tuple(FieldViolation(f"{start}{field}", description) for field, description in rules)
