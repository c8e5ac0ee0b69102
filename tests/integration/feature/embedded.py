"""The log and the feature service in one process, as `winnow serve` runs them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from services.feature.app import FeatureApp, open_feature
from services.feature.memory_store import MemoryFeatureStore
from services.feedback.app import FeedbackApp, open_feedback
from services.feedback.settings import FeedbackSettings
from shared.domain.event_log import EventLog, LogRecord
from shared.domain.user_state import UserState
from shared.domain.watermark import Watermark
from tests.unit.feature.world import ENOUGH_MS, Room, clock, settings


@dataclass(frozen=True)
class Embedded:
    """Both services, and the folder that holds everything."""

    folder: Path
    feedback: FeedbackApp
    feature: FeatureApp

    async def state(self, user_id: str, at: Watermark | None = None) -> UserState:
        """A user's whole state at or behind a position."""
        return await self.feature.features.user_state(
            user_id, at or Watermark(), history_limit=1_000, budget_ms=ENOUGH_MS
        )


@asynccontextmanager
async def embedded(
    folder: Path, log: Mapping[str, object] | None = None, **overrides: object
) -> AsyncIterator[Embedded]:
    """Both services; the feature service has caught up. The log is in SQLite unless its settings say otherwise."""
    async with (
        open_feedback(FeedbackSettings.model_validate({"data_dir": folder, **(log or {})}), clock) as feedback,
        open_feature(settings(folder, **overrides), clock, feedback.feedback) as feature,
    ):
        await feature.hosted.readiness.wait_ready()
        yield Embedded(folder, feedback, feature)


async def records_of(log: EventLog) -> list[LogRecord]:
    """Everything that the log holds."""
    return [record async for batch in log.tail(Watermark(), follow=False) for record in batch.records]


async def clean_pass(log: EventLog) -> bytes:
    """The canonical state after one pass over the log by a service that never saw it before."""
    room = await Room.open(MemoryFeatureStore())
    await room.take(await records_of(log))
    await room.take((), await log.head())  # a record's own position names its partition only
    return await room.dump()


def store_path(folder: Path) -> Path:
    """Where the feature service keeps its state."""
    return folder / "feature" / "features.db"


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something outside of this process's event loop has come true."""
    while not condition():
        await asyncio.sleep(0.005)


def scrubbed(folder: Path, position: Watermark) -> bool:
    """Whether the store holds this position, and its files have been cleaned of erased users."""
    with closing(sqlite3.connect(store_path(folder))) as db:
        meta = dict(db.execute("SELECT name, value FROM meta").fetchall())
    return Watermark.parse(meta["position"].decode()).covers(position) and not meta["scrub"]
