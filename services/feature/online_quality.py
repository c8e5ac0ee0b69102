"""How well what is served does: slates joined to the events that follow from them, as they pass in the log.

It stands in the feature service because that one follows the log anyway. Only facts that were recorded since the
process began are counted, so that a replay counts nothing twice; slates of before are known to the join all the same.
Where several replicas follow one log, each counts everything: dashboards take the maximum over them, not the sum.

Memory is bounded by the number of shown entries that are remembered; an event that comes after its slate was forgotten
is counted as such. A slate goes to the log beside its answer, so that an event of a quick caller can stand before it:
such events wait a minute for it. Nothing of a user is kept longer than that but the subject, for erasure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from services.feature import telemetry
from services.feature.distinct import DailyDistinct
from shared.domain.event_log import Erasure, LogRecord
from shared.domain.events import CONSUMING, Event, EventType
from shared.domain.slates import ServedSlate

NEW_DAYS: Final = 7.0
"""An item counts as new for so long after it was created."""
LABELLED: Final = 50
"""Pairs of surface and arm that have series of their own; surfaces are named by callers, who could name any number."""
OTHER: Final = ("other", "")
SINGLE_POSITIONS: Final = 10
EARLY_MS: Final = 60_000
"""An event waits so long for the slate that it follows from."""
EARLY_EVENTS: Final = 10_000
KNOWN_EVENTS: Final = frozenset(int(kind) for kind in EventType if kind)


@dataclass(slots=True)
class _Slate:
    subject: str
    labels: tuple[str, str]
    weights: dict[int, float]
    positions: dict[str, int] = field(default_factory=dict)
    outcomes: set[tuple[int, int]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Early:
    subject: str
    recorded_ms: int
    event: Event


class OnlineQuality:
    """Joins slates to their events.

    Args:
        since_ms: facts that were recorded earlier are not counted.
        limit: shown entries that are remembered; 0: nothing is joined.
    """

    def __init__(self, since_ms: int, limit: int) -> None:
        self._since_ms = since_ms
        self._limit = limit
        self._slates: OrderedDict[str, _Slate] = OrderedDict()
        self._early: OrderedDict[str, list[_Early]] = OrderedDict()
        self._waiting = 0
        self._entries = 0
        self._labelled: set[tuple[str, str]] = set()
        self._shown_items = DailyDistinct()

    @property
    def entries(self) -> int:
        """Shown entries that are remembered."""
        return self._entries

    def observe(self, records: Iterable[LogRecord]) -> None:
        """Take records as they stand in the log; records that come again change nothing."""
        if not self._limit:
            return
        for record in records:
            fact, counted = record.fact, record.recorded_ms >= self._since_ms
            if isinstance(fact, ServedSlate):
                self._show(fact, record, counted=counted)
            elif isinstance(fact, Event) and fact.recommendation_id:
                self._follow(_Early(record.subject, record.recorded_ms, fact), counted=counted)
            elif isinstance(fact, Erasure):
                self._forget(record.subject)
            self._give_up_before(record.recorded_ms - EARLY_MS)
        telemetry.SHOWN_ITEMS.set(self._shown_items.estimate)

    def _show(self, slate: ServedSlate, record: LogRecord, *, counted: bool) -> None:
        if not len(slate.shown_rows):  # nothing can follow from it
            return
        known = self._slates.get(slate.recommendation_id)
        if known is None:
            weights = dict(zip(slate.actions, slate.action_weights, strict=False))
            known = _Slate(record.subject, self._labels(slate.surface, slate.arm), weights)
            self._slates[slate.recommendation_id] = known
        elif slate.first_position in known.positions.values():  # the log sent this page again
            return
        before = len(known.positions)
        for place, item_id in enumerate(slate.shown_item_ids):
            known.positions[item_id] = position = slate.first_position + place
            if counted:
                telemetry.SHOWN.labels(*known.labels, _position(position)).inc()
                self._shown_items.add(item_id, record.recorded_ms)
        self._entries += len(known.positions) - before
        if counted:
            _expect(slate, known.labels)
        self._trim()
        waited = self._early.pop(slate.recommendation_id, [])
        self._waiting -= len(waited)
        for early in waited:
            self._follow(early, counted=True)

    def _follow(self, early: _Early, *, counted: bool) -> None:
        event = early.event
        slate = self._slates.get(event.recommendation_id)
        position = None if slate is None else slate.positions.get(event.item_id)
        if slate is None or position is None:
            if counted:
                self._early.setdefault(event.recommendation_id, []).append(early)
                self._waiting += 1
            return
        outcome = (position, event.event_type)
        if outcome in slate.outcomes or event.event_type not in KNOWN_EVENTS:
            return
        slate.outcomes.add(outcome)
        if not counted:
            return
        label = EventType(event.event_type).label
        telemetry.OUTCOMES.labels(*slate.labels, label).inc()
        if event.event_type == EventType.CLICK:
            telemetry.CLICKS.labels(*slate.labels, _position(position)).inc()
        if event.event_type in slate.weights:
            telemetry.OBSERVED.labels(label).inc()
        worth = slate.weights.get(event.event_type, 0.0 if slate.weights else float(event.event_type in CONSUMING))
        # Both, so that the difference of the two is there also where only one of them ever happens.
        telemetry.REWARD.labels(*slate.labels, _position(position)).inc(max(worth, 0.0))
        telemetry.PENALTY.labels(*slate.labels, _position(position)).inc(max(-worth, 0.0))

    def _labels(self, surface: str, arm: str) -> tuple[str, str]:
        labels = (surface, arm)
        if labels not in self._labelled and len(self._labelled) >= LABELLED:
            return OTHER
        self._labelled.add(labels)
        return labels

    def _give_up_before(self, moment_ms: int) -> None:
        while self._early:
            first = next(iter(self._early.values()))
            if first[0].recorded_ms >= moment_ms and self._waiting <= EARLY_EVENTS:
                return
            self._early.popitem(last=False)
            self._waiting -= len(first)
            telemetry.UNJOINED.inc(len(first))

    def _forget(self, subject: str) -> None:
        left = {each: [one for one in events if one.subject != subject] for each, events in self._early.items()}
        self._early = OrderedDict((each, events) for each, events in left.items() if events)
        self._waiting = sum(map(len, self._early.values()))
        for recommendation_id in [each for each, slate in self._slates.items() if slate.subject == subject]:
            self._entries -= len(self._slates.pop(recommendation_id).positions)

    def _trim(self) -> None:
        while self._entries > self._limit and self._slates:
            self._entries -= len(self._slates.popitem(last=False)[1].positions)


def _expect(slate: ServedSlate, labels: tuple[str, str]) -> None:
    """Count what the ranker promised of the shown entries, and how many of them are new."""
    rows = slate.shown_rows
    for column, action in enumerate(slate.actions):
        if action in KNOWN_EVENTS:
            promised = np.nan_to_num(slate.probabilities[rows, column].astype(np.float64))
            telemetry.EXPECTED.labels(EventType(action).label).inc(float(np.clip(promised, 0, 1).sum()))
    if len(slate.candidates.ages_days):
        ages = slate.candidates.ages_days[rows]
        telemetry.NEW_SHOWN.labels(*labels).inc(int(((ages >= 0) & (ages < NEW_DAYS)).sum()))


def _position(position: int) -> str:
    """A label of a small set: the first ten positions by themselves, then the second ten, then the rest."""
    if position < SINGLE_POSITIONS:
        return str(position)
    return "10-19" if position < 2 * SINGLE_POSITIONS else "20+"
