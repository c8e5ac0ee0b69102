"""Ranked slates whose next pages may be asked for: kept for the life of their page tokens, as many as fit."""

from __future__ import annotations

from services.recommendation.ranked_slate import RankedSlate
from shared.kernel.clock import Clock


class Reserve:
    """The latest slates by recommendation id.

    Args:
        limit: slates kept at most; the oldest go first (their next page is then read from the log).
        life_ms: how long a slate is kept.
    """

    def __init__(self, clock: Clock, limit: int, life_ms: int) -> None:
        self._clock = clock
        self._limit = limit
        self._life_ms = life_ms
        self._slates: dict[str, RankedSlate] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._slates)

    def keep(self, slate: RankedSlate) -> None:
        """Keep a slate that was served just now."""
        self._slates[slate.served.recommendation_id] = slate
        while self._slates and (len(self._slates) > self._limit or self._over(next(iter(self._slates.values())))):
            del self._slates[next(iter(self._slates))]

    def find(self, recommendation_id: str) -> RankedSlate | None:
        """The slate, None when it is not kept any more."""
        slate = self._slates.get(recommendation_id)
        return None if slate is None or self._over(slate) else slate

    def _over(self, slate: RankedSlate) -> bool:
        return self._clock() - slate.served.served_ms > self._life_ms
