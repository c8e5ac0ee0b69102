"""Follows the log and applies it, for ever: a lost connection is tried again, and serving goes on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import structlog

from services.feature import telemetry
from services.feature.expiring import expire
from services.feature.online_quality import OnlineQuality
from services.feature.projection import Projection, without_erasures
from services.feature.writer import Writer
from shared.domain.event_log import Erasure, LogBatch, LogRecord
from shared.domain.expiry import Expiry
from shared.domain.services import Feedback
from shared.kernel.background import Backoff
from shared.kernel.clock import Clock
from shared.kernel.errors import ErrorReason, ServiceError
from shared.kernel.readiness import Readiness

log = structlog.get_logger()


@dataclass(frozen=True)
class Updater:
    """Brings the projection to the log's head and keeps it there.

    Attributes:
        feedback: whose log.
        readiness: set once the state includes all that the log held when it was first reached.
        batch_size: records that are applied at a time; other work waits that long.
        backoff: when to try again after the log was lost.
        quality: sees every record once it is applied.
    """

    feedback: Feedback
    projection: Projection
    writer: Writer
    readiness: Readiness
    clock: Clock
    batch_size: int
    backoff: Backoff
    quality: OnlineQuality

    async def run(self) -> None:
        """Follow the log; never returns."""
        wait_ms = self.backoff.first_ms
        progress = self.projection.progress
        while True:
            before = progress.records
            try:
                await self._follow_until_moved()
            except (ServiceError, OSError) as error:
                await self._lost(error, wait_ms)
            if progress.records > before:
                wait_ms = self.backoff.first_ms
            await asyncio.sleep(wait_ms / 1000)
            wait_ms = min(2 * wait_ms, self.backoff.limit_ms)

    async def _follow_until_moved(self) -> None:
        """Follow the log; when the store moves, load what it holds now, to follow the log from there."""
        moved = self.writer.store.moved
        following, moving = asyncio.ensure_future(self._follow()), asyncio.ensure_future(moved.wait())
        try:
            await asyncio.wait({following, moving}, return_when=asyncio.FIRST_COMPLETED)
            if following.done() and not moved.is_set():
                following.result()
        finally:
            following.cancel()
            moving.cancel()
            await asyncio.gather(following, moving, return_exceptions=True)
        if moved.is_set():
            await self._reload()

    async def _follow(self) -> None:
        position = self.projection.progress.applied
        batches = self.feedback.tail(position, follow=True, batch_size=self.batch_size)
        try:
            async for batch in batches:
                if not batch.head.covers(self.projection.progress.applied):
                    await self._begin_again()
                    return
                await self.take(batch)
        finally:
            if isinstance(batches, AsyncGenerator):  # give the connection back now, not when it is collected
                await batches.aclose()
        raise ConnectionError("the log ended the stream")

    async def take(self, batch: LogBatch) -> None:
        """Apply one batch and say how far it brought the projection."""
        progress = self.projection.progress
        progress.failures.pop("log", None)
        progress.see_head(batch.head)
        for run in without_erasures(batch.records):
            await self._apply(run)
        if not progress.applied.covers(batch.watermark):
            progress.advance(batch.watermark, 0, self.clock())
        self.quality.observe(batch.records)
        await self.writer.changed()
        self._tell()
        self._measure(batch.records)

    async def _apply(self, run: Sequence[LogRecord]) -> None:
        first = run[0]
        if isinstance(first.fact, Expiry):
            await expire(self.writer, first, first.fact, self.clock())
        elif isinstance(first.fact, Erasure) and await self.projection.users.knows(first.subject):
            await self.writer.flush()
            await self.projection.erase(first, self.clock())
            await self.writer.flush()
        else:
            if outlived := await self.projection.outlived(run):
                await self.writer.flush()
                await self.projection.bury(outlived)
            await self.projection.apply(run, self.clock())

    def _tell(self) -> None:
        progress = self.projection.progress
        if progress.ready:
            if not self.readiness.ready:
                self.readiness.set(ready=True)
        else:
            self.readiness.set(ready=False, reason=str(progress.replay))

    def _measure(self, records: Sequence[LogRecord]) -> None:
        telemetry.LOG_UP.set(1)
        telemetry.APPLIED_RECORDS.inc(len(records))
        if records:
            telemetry.WATERMARK.set(records[-1].recorded_ms / 1000)
        telemetry.BEHIND_RECORDS.set(self.projection.progress.behind)
        telemetry.PENDING_ROWS.set(self.projection.pending)
        telemetry.USERS.set(self.projection.users.count)
        telemetry.ITEMS.set(self.projection.catalogue.present)

    async def _lost(self, error: Exception, wait_ms: int) -> None:
        reason = error.message if isinstance(error, ServiceError) else str(error)
        what = "store" if isinstance(error, ServiceError) and "feature-store" in error.metadata.values() else "log"
        self.projection.progress.failures[what] = reason
        if not self.projection.progress.ready:
            self.readiness.set(ready=False, reason=f"the {what} cannot be read: {reason}")
        telemetry.LOG_LOST.inc()
        telemetry.LOG_UP.set(0)
        log.warning("feature.log.lost", reason=reason, retry_in_ms=wait_ms)
        if isinstance(error, ServiceError) and error.reason == ErrorReason.WATERMARK_INVALID:
            await self._begin_again()

    async def _reload(self) -> None:
        log.warning("feature.store.moved", position=str(self.projection.progress.applied))
        self.readiness.set(ready=False, reason="the store was set back: loading it anew")
        await self.writer.reload()

    async def _begin_again(self) -> None:
        """The log was replaced by one that is shorter: what was learned from the old one goes."""
        log.warning("feature.log.replaced", position=str(self.projection.progress.applied))
        self.readiness.set(ready=False, reason="the log was replaced: reading it from its beginning")
        await self.writer.restart()
