"""Served slates with what their users did: what the ranker learns from where the log holds them.

A slate remembers what the models saw, and nothing of it is made again: history, profile, and the figures of each shown
item are those of the moment it was served. Events tell by `recommendation_id` which slate they followed from. Of a
slate only what was shown is kept: nobody knows what a user would have done with the rest.

S entries of a slate, O outcomes of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from services.trainer.sequences import TARGETS
from shared.domain.event_log import Fact
from shared.domain.events import Event, EventType
from shared.domain.history import History
from shared.domain.items import User
from shared.domain.ranking import Candidates, RankingRequest
from shared.domain.slates import ServedSlate

HOUR_MS = 3_600_000
SKEW_MS = 60_000
"""An event may seem to be so much older than its slate: clients have clocks of their own."""

_WISHES = frozenset(TARGETS.tolist())
Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class AttributionSettings:
    """What counts as the answer to a slate.

    Attributes:
        window_hours: events that come later are not its doing.
        least_propensity: an entry that chance put there counts 1 / propensity, with this as the least.
        most: slates that are kept, the latest ones.
    """

    window_hours: float = 24.0
    least_propensity: float = 0.1
    most: int = 50_000


@dataclass(frozen=True, slots=True)
class AnsweredSlate:
    """What one user was shown, and what they did with it.

    Attributes:
        user_id: "" for an anonymous session.
        served_ms: when.
        time_ms: the moment that the models were asked for.
        history, user: as the models saw them.
        candidates: the S shown entries in shown order, as the ranker saw them.
        weights: (S,) 1, more where chance gave the entry a place that it seldom gets.
        places: (O,) entries that something wished was done with, ascending; an entry comes once for each kind.
        kinds: (O,) what, codes of `EventType`.
        times_ms: (O,) when.
    """

    user_id: str
    served_ms: int
    time_ms: int
    history: History
    user: User | None
    candidates: Candidates
    weights: Floats
    places: Rows
    kinds: Rows
    times_ms: Rows

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def request(self) -> RankingRequest:
        """What the ranker was asked, of the shown entries."""
        return RankingRequest(self.history, self.candidates, self.time_ms, self.user)


@dataclass(frozen=True, slots=True)
class Answers:
    """The slates of a log and what followed, oldest slate first.

    Attributes:
        slates: joined.
        read: how many slates the log holds that can be read, of which these are the latest.
    """

    slates: tuple[AnsweredSlate, ...] = ()
    read: int = 0


NO_ANSWERS = Answers()
"""For data that no slates come with."""


@dataclass(slots=True)
class SlateLog:
    """Collects slates and events of a log as they come, in any order.

    Attributes:
        settings: of the join.
    """

    settings: AttributionSettings
    _slates: deque[ServedSlate] = field(init=False)
    _followed: dict[str, list[Event]] = field(default_factory=dict)
    _read: int = 0
    _latest_ms: int = 0

    def __post_init__(self) -> None:
        self._slates = deque(maxlen=self.settings.most)

    def take(self, fact: Fact) -> None:
        """Take what the log holds: slates that showed something, and events."""
        match fact:
            case ServedSlate() if len(fact.shown_rows):
                self._slates.append(fact)
                self._read += 1
            case Event():
                self._latest_ms = max(self._latest_ms, fact.event_time_ms)
                if fact.recommendation_id:
                    self._followed.setdefault(fact.recommendation_id, []).append(fact)
            case _:
                pass

    def answers(self) -> Answers:
        """The join. A slate without an answer counts only when its time is over: it may still get one."""
        window_ms = round(self.settings.window_hours * HOUR_MS)
        joined = []
        for slate in self._slates:
            events = [each for each in self._followed.get(slate.recommendation_id, ())
                      if -SKEW_MS <= each.event_time_ms - slate.served_ms <= window_ms]  # fmt: skip
            answered = _joined(slate, events, self.settings.least_propensity)
            if len(answered.places) or slate.served_ms + window_ms <= self._latest_ms:
                joined.append(answered)
        joined.sort(key=lambda each: each.served_ms)
        return Answers(tuple(joined), self._read)


def _joined(slate: ServedSlate, events: list[Event], least_propensity: float) -> AnsweredSlate:
    place_of = {item_id: place for place, item_id in enumerate(slate.shown_item_ids)}
    outcomes = sorted(_outcomes(events, place_of))
    seen = _looked_at(events, place_of)
    weights = 1 / np.maximum(slate.propensities, least_propensity)
    if seen is not None:
        weights = weights * seen
    return AnsweredSlate(
        user_id=slate.user_id,
        served_ms=slate.served_ms,
        time_ms=slate.context.time_ms or slate.served_ms,
        history=slate.history,
        user=slate.user,
        candidates=slate.candidates.take(slate.shown_rows),
        weights=weights.astype(np.float32),
        places=np.array([place for place, _, _ in outcomes], np.int64),
        kinds=np.array([kind for _, kind, _ in outcomes], np.int64),
        times_ms=np.array([time_ms for _, _, time_ms in outcomes], np.int64),
    )


def _outcomes(events: list[Event], place_of: dict[str, int]) -> Iterator[tuple[int, int, int]]:
    """(place, kind, time) of every wish, the first of each kind."""
    first: dict[tuple[int, int], int] = {}
    for event in events:
        if event.event_type in _WISHES and event.item_id in place_of:
            key = (place_of[event.item_id], event.event_type)
            first[key] = min(first.get(key, event.event_time_ms), event.event_time_ms)
    for (place, kind), time_ms in first.items():
        yield place, kind, time_ms


def _looked_at(events: list[Event], place_of: dict[str, int]) -> npt.NDArray[np.bool_] | None:
    """(S,) which entries came before the user's eyes; None where the client does not say."""
    if not any(event.event_type == EventType.IMPRESSION for event in events):
        return None
    seen = np.zeros(len(place_of), np.bool_)
    seen[[place_of[event.item_id] for event in events if event.item_id in place_of]] = True
    return seen
