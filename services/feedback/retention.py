"""Retention: how long facts are kept, and the task that takes them out.

First an `Expiry` goes into the log, which makes every projection drop what is too old; then the log deletes what that
names, a few rows at a time between the writers' groups, once it was also recorded long enough ago. Content of an item
that was replaced by an upsert is in no projection any more, so that it can go without a word in the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

import structlog

from services.feedback.telemetry import FORGOTTEN
from shared.domain.expiry import Expiry, border_ms
from shared.domain.watermark import Watermark
from shared.kernel.clock import Clock

DAY_MS: Final = 86_400_000
PASS_INTERVAL_S: Final = 600.0
STEP_ROWS: Final = 500
REST: Final = 4
"""After a step the sweep rests this many times as long as the step took: it takes a fifth of the disk at most."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RetentionAges:
    """How old facts may become, milliseconds; 0 keeps them for ever.

    Attributes:
        events_ms: of the kinds that make up a history.
        impressions_ms: of impressions.
        slates_ms: of served slates.
        replaced_items_ms: of upserts that replaced an item's content; what they replaced goes, the first one stays.
    """

    events_ms: int = 0
    impressions_ms: int = 0
    slates_ms: int = 0
    replaced_items_ms: int = 0

    @property
    def any(self) -> bool:
        """Whether anything is ever taken out."""
        return self != RetentionAges()

    def expiry(self, now_ms: int) -> Expiry:
        """What is too old now."""
        return Expiry(*(border_ms(now_ms, age) for age in (self.events_ms, self.impressions_ms, self.slates_ms)))


class ForgettingLog(Protocol):
    """A log that can delete."""

    async def expiry(self) -> Expiry:
        """The last one that was appended."""

    async def expire(self, expiry: Expiry) -> Watermark:
        """Append it in place of the last one; durable when it returns."""

    async def sweep(self, border: str, recorded_before_ms: int, limit: int) -> tuple[int, int]:
        """Look at the next records of before a time, and delete those that the last expiry names in this class.

        Returns:
            How many records were looked at, 0 = there are no more; and how many of them were deleted.
        """

    async def compact(self, recorded_before_ms: int, limit: int) -> tuple[int, int]:
        """Look at the next upserts of items of before a time, and delete what they replaced; answers as `sweep`."""


class Retention:
    """Keeps a log as young as it shall be.

    Args:
        log: whose.
        ages: how old facts may become.
        clock: what time it is.
        future_skew_ms: how much later than its recording an event's time may be.
    """

    def __init__(self, log: ForgettingLog, ages: RetentionAges, clock: Clock, future_skew_ms: int) -> None:
        self._log = log
        self._ages = ages
        self._clock = clock
        self._future_skew_ms = future_skew_ms

    async def run(self) -> None:
        """Take out what becomes too old, for ever."""
        while True:
            await self.pass_over()
            await asyncio.sleep(PASS_INTERVAL_S)

    async def pass_over(self) -> int:
        """Take out what is too old now; gives how many records were deleted.

        Raises:
            ServiceError: STORAGE_FULL, STORAGE_UNAVAILABLE; what was done so far is done.
        """
        last = await self._log.expiry()
        expiry = last.joined(self._ages.expiry(self._clock()))
        if expiry != last:
            await self._log.expire(expiry)
        deleted = 0
        for border in ("events_before_ms", "impressions_before_ms", "slates_before_ms"):
            if before_ms := getattr(expiry, border):
                deleted += await self._repeat(partial(self._log.sweep, border, before_ms - self._future_skew_ms))
        if age_ms := self._ages.replaced_items_ms:
            deleted += await self._repeat(partial(self._log.compact, self._clock() - age_ms))
        if deleted:
            log.info("retention.swept", records=deleted)
        return deleted

    async def _repeat(self, step: Callable[[int], Awaitable[tuple[int, int]]]) -> int:
        deleted = 0
        while True:
            began = time.monotonic()
            looked_at, gone = await step(STEP_ROWS)
            if not looked_at:
                return deleted
            deleted += gone
            FORGOTTEN.inc(gone)
            await asyncio.sleep(REST * (time.monotonic() - began))
