"""What retention has taken out of the log: a rule that every projection applies, so that a rebuilt one is the same.

An `Expiry` says which facts fall out by their own time. The log deletes only what an `Expiry` before has named, so a
projection that has seen the deleted facts and one that never did agree behind it. Hides, follows, profiles, the
catalogue and tombstones never fall out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.domain.events import CONSUMING, Event, EventType
from shared.domain.slates import ServedSlate

STEP_MS: Final = 86_400_000
"""Borders are multiples of this: a day, so that every user is looked through once a day at most."""
_CONSUMING: Final = frozenset(int(kind) for kind in CONSUMING)


@dataclass(frozen=True, slots=True)
class Expiry:
    """What lies before a border has fallen out; 0 = nothing has. Borders never move back.

    Attributes:
        events_before_ms: for events of the kinds that make up a history, by event time.
        impressions_before_ms: for impressions, by event time.
        slates_before_ms: for served slates, by the time of serving.
    """

    events_before_ms: int = 0
    impressions_before_ms: int = 0
    slates_before_ms: int = 0

    @property
    def keeps_events_from_ms(self) -> int:
        """No event of this time or later has fallen out, whatever its kind."""
        return max(self.events_before_ms, self.impressions_before_ms)

    def drops(self, fact: object) -> bool:
        """Whether a fact has fallen out."""
        if isinstance(fact, ServedSlate):
            return fact.served_ms < self.slates_before_ms
        if not isinstance(fact, Event):
            return False
        border = self.border_of(fact.event_type)
        return border > 0 and fact.event_time_ms < border

    def border_of(self, kind: int) -> int:
        """The border for events of a kind."""
        if kind in _CONSUMING:
            return self.events_before_ms
        return self.impressions_before_ms if kind == EventType.IMPRESSION else 0

    def joined(self, other: Expiry) -> Expiry:
        """Everything that either of both drops."""
        return Expiry(
            max(self.events_before_ms, other.events_before_ms),
            max(self.impressions_before_ms, other.impressions_before_ms),
            max(self.slates_before_ms, other.slates_before_ms),
        )


def border_ms(now_ms: int, age_ms: int) -> int:
    """Where what is older than `age_ms` begins, rounded down to a step; 0 for an age of 0: nothing falls out."""
    return max(0, (now_ms - age_ms) // STEP_MS * STEP_MS) if age_ms else 0
