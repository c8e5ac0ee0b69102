"""Small facts and running services for the tests of the feature service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from services.feature.app import FeatureApp, load_projection, open_feature
from services.feature.dump import dump
from services.feature.online_quality import OnlineQuality
from services.feature.projection import Projection
from services.feature.settings import FeatureSettings
from services.feature.store import FeatureStore
from services.feature.updater import Updater
from services.feature.writer import Writer
from shared.domain.event_log import LogBatch, LogRecord
from shared.domain.events import Event, EventType
from shared.domain.history import History
from shared.domain.items import Item
from shared.domain.provenance import Provenance
from shared.domain.ranking import Candidates, RequestContext
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.kernel.background import Backoff
from shared.kernel.readiness import Readiness
from tests.fakes import MemoryLog

NOW_MS = 1_700_000_000_000
MINUTE_MS = 60_000
DAY_MS = 86_400_000
ENOUGH_MS = 60_000.0
"""A budget that only a hanging test uses up."""
QUICK = Backoff(first_ms=1, limit_ms=5)


def clock() -> int:
    """It is always the same moment."""
    return NOW_MS


_made = iter(range(10**9))


def event(
    user_id: str, item_id: str, kind: EventType = EventType.CLICK, *, at_ms: int = NOW_MS, event_id: str = ""
) -> Event:
    """An event with an id of its own."""
    return Event(event_id or f"event-{next(_made)}", user_id, item_id, int(kind), at_ms)


def slate(user_id: str, item_ids: Sequence[str], *, at_ms: int = NOW_MS, recommendation_id: str = "") -> ServedSlate:
    """A slate that showed these items in this order, and nothing else of interest."""
    count = len(item_ids)
    floats, ranks = np.zeros(count, np.float32), np.zeros(count, np.int32)
    return ServedSlate(
        recommendation_id=recommendation_id or f"slate-{next(_made)}",
        user_id=user_id,
        session_id="",
        surface="home",
        served_ms=at_ms,
        provenance=Provenance(),
        seed=0,
        history=History.empty(),
        user=None,
        context=RequestContext(),
        candidates=Candidates(tuple(item_ids), floats, floats, floats, floats, ranks, floats, ranks),
        sources=(),
        actions=(),
        action_weights=(),
        probabilities=np.zeros((0, 0), np.float32),
        values=np.zeros(count),
        shown_rows=np.arange(count, dtype=np.int32),
        propensities=np.ones(count, np.float32),
        reserve_rows=np.empty(0, np.int32),
    )


def catalogue_of(count: int) -> list[Item]:
    """Items i0, i1, … in three categories."""
    return [Item(f"i{number}", title=f"title {number}", categories=(f"c{number % 3}",)) for number in range(count)]


def settings(folder: Path, **overrides: object) -> FeatureSettings:
    """Settings of a service that stores at once and tries again soon."""
    values = {"store_interval_ms": 1, "retry_first_ms": 1, "retry_limit_ms": 5} | overrides
    return FeatureSettings.model_validate({"data_dir": folder} | values)


@asynccontextmanager
async def running(folder: Path, log: MemoryLog, **overrides: object) -> AsyncIterator[FeatureApp]:
    """A service that has caught up with the log."""
    async with open_feature(settings(folder, **overrides), clock, log) as app:
        await app.hosted.readiness.wait_ready()
        yield app


class Room:
    """A projection over a store, driven by hand; `reopen` is what a restart after `kill -9` finds."""

    def __init__(self, store: FeatureStore, projection: Projection, limit: int) -> None:
        self.store = store
        self.projection = projection
        self.readiness = Readiness()
        self.writer = Writer(projection, store, interval_ms=0, limit=limit, backoff=QUICK)
        self._updater = Updater(
            MemoryLog(), projection, self.writer, self.readiness, clock, 100, QUICK, OnlineQuality(NOW_MS, 0)
        )

    @classmethod
    async def open(cls, store: FeatureStore, cached_events: int = 10**9, limit: int = 10**9) -> Room:
        """Begin with what the store holds."""
        return cls(store, await load_projection(store, cached_events), limit)

    async def reopen(self) -> Room:
        """Forget everything that is not stored."""
        return await Room.open(self.store, self.projection.users.limit_events)

    async def take(self, records: Sequence[LogRecord], head: Watermark | None = None) -> None:
        """Apply records as one batch of the log."""
        position = records[-1].watermark if records else head or self.projection.progress.applied
        await self._updater.take(LogBatch(tuple(records), position, head or position))

    async def dump(self) -> bytes:
        """Store everything, then the canonical state."""
        await self.writer.flush()
        return await dump(self.projection.stored, self.projection.catalogue, self.store)
