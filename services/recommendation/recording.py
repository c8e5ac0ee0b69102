"""The side effect of every answer: its slate goes to the log within 100 ms after it, or its loss is counted.

A slate that the log refuses (the clocks of the two are too far apart) would be refused again: it is lost at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import chain

import structlog

from services.recommendation.telemetry import SLATES_LOST, SLATES_WAITING
from shared.domain.intake import Recorded
from shared.domain.services import Feedback
from shared.domain.slates import ServedSlate
from shared.kernel.errors import ServiceError

BATCH = 100
"""Slates a call at most: the contract's limit."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 2.0
"""Between attempts while the log does not take them."""

CALL_LIMIT_S = 10.0
"""Longest wait for one call; a slate that was appended anyway is recognised by its id."""

_log = structlog.get_logger()


class SlateRecorder:
    """A bounded queue in front of the log. `run` empties it, `close` empties it for the last time.

    Args:
        limit: slates that may wait; while the log does not answer, the oldest beyond it are lost.

    Attributes:
        lost: slates that were served and will never be in the log.
        recorded: slates that are durable.
    """

    def __init__(self, feedback: Feedback, limit: int) -> None:
        self._feedback = feedback
        self._limit = limit
        self._waiting: deque[ServedSlate] = deque()
        self._on_their_way: list[ServedSlate] = []
        self._woken = asyncio.Event()
        self.lost = 0
        self.recorded = 0

    @property
    def waiting(self) -> int:
        """Slates that are served and not durable yet."""
        return len(self._waiting) + len(self._on_their_way)

    def find(self, recommendation_id: str) -> ServedSlate | None:
        """The first page's slate of an id, if it is not durable yet."""
        waiting = chain(self._on_their_way, self._waiting)
        mine = (slate for slate in waiting if slate.recommendation_id == recommendation_id)
        return next((slate for slate in mine if not slate.first_position), None)

    def accept(self, slate: ServedSlate) -> None:
        """Queue one slate; never waits."""
        self._waiting.append(slate)
        self._woken.set()
        self._trim()

    async def run(self) -> None:
        """Record what is queued, for ever; while the log fails, try again after growing waits."""
        wait_s = FIRST_WAIT_S
        while True:
            await self._woken.wait()
            if await self._record_batch():
                wait_s = FIRST_WAIT_S
            else:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def close(self, limit_s: float) -> None:
        """Record what is still queued, as far as the time allows; count the rest as lost."""
        try:
            async with asyncio.timeout(limit_s):
                while self._waiting and await self._record_batch():
                    pass
        except TimeoutError:
            pass
        self._lose(len(self._waiting))
        self._waiting.clear()

    async def _record_batch(self) -> bool:
        self._on_their_way = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        try:
            async with asyncio.timeout(CALL_LIMIT_S):
                recorded = await self._feedback.record_slates(self._on_their_way)
            self._settle(recorded)
        except (ServiceError, TimeoutError) as error:
            _log.warning("slates not recorded yet", waiting=self.waiting, error=type(error).__name__)
            return False
        finally:  # what is not durable goes back to the front; also when this task ends in the middle
            self._waiting.extendleft(reversed(self._on_their_way))
            self._on_their_way = []
            self._trim()
        if not self._waiting:
            self._woken.clear()
        return True

    def _settle(self, recorded: Recorded) -> None:
        """What was on its way is durable, or refused."""
        for error in recorded.refused.values():
            _log.error("slate refused", fields=[f"{each.field} {each.description}" for each in error.violations])
        self.recorded += len(self._on_their_way) - len(recorded.refused)
        self._on_their_way = []
        self._lose(len(recorded.refused))

    def _trim(self) -> None:
        too_many = len(self._waiting) - self._limit
        for _ in range(too_many):
            self._waiting.popleft()
        self._lose(max(0, too_many))
        SLATES_WAITING.set(self.waiting)

    def _lose(self, count: int) -> None:
        if count:
            self.lost += count
            SLATES_LOST.inc(count)
            _log.error("served slates lost", count=count, lost=self.lost)
