"""How many slates are made at once: fewer as their answers come late, so that those that are let in are in time.

A front that takes in more than it can answer spends all its time on requests that end at their callers' deadlines. The
limit grows by one for as many answers in time as it allows at once, and falls by a part for late ones, once for all
that were under way together (additive increase, multiplicative decrease: Chiu & Jain 1989, as TCP does it).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from services.recommendation.budget import Ticks
from services.recommendation.telemetry import CONCURRENCY_LIMIT, CROWDED_OUT
from shared.kernel.errors import ErrorReason, ServiceError

FIRST: Final = 64
LEAST: Final = 12
"""Few enough to be answered in time by two processor cores, many enough for waiting on a slow neighbour."""
FALL: Final = 0.8


class Crowd:
    """The requests that are being answered.

    Args:
        late_ms: answers that take longer lower the limit; 0: there is none.
        ticks: monotonic seconds.
    """

    def __init__(self, late_ms: float, ticks: Ticks) -> None:
        self._late_ms = late_ms
        self._ticks = ticks
        self._limit = float(FIRST)
        self._inside = 0
        self._fell_s = ticks()
        CONCURRENCY_LIMIT.set(self.limit)

    @property
    def limit(self) -> int:
        """How many may be answered at once now."""
        return int(self._limit)

    @contextmanager
    def place(self, *, tells: bool) -> Iterator[None]:
        """Holds a place for one request.

        Args:
            tells: whether a long time means too many requests; not where the request itself asks to wait.

        Raises:
            ServiceError: OVERLOADED: all places are taken. Better told at once than after the deadline.
        """
        if self._late_ms and self._inside >= self.limit:
            CROWDED_OUT.inc()
            raise ServiceError(
                ErrorReason.OVERLOADED,
                f"{self.limit} slates are being made, no more are ready in time; try again later, or run more replicas",
                metadata={"limit": str(self.limit)},
            )
        began_s = self._ticks()
        self._inside += 1
        try:
            yield
        finally:
            if tells and self._late_ms:
                self._learn(began_s)
            self._inside -= 1

    def _learn(self, began_s: float) -> None:
        now_s = self._ticks()
        if (now_s - began_s) * 1e3 <= self._late_ms:
            if self._inside * 2 >= self._limit:  # an idle front learns nothing of how many would be too many
                self._limit += 1 / self._limit
        elif began_s >= self._fell_s:
            self._limit, self._fell_s = max(LEAST, self._limit * FALL), now_s
        CONCURRENCY_LIMIT.set(self.limit)
