"""The adapters of the `EventLog` port, and the few things that its contract tests do over and over.

The suite holds for a log of several partitions: it asks for order within a user, and compares positions by `covers`.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from services.feedback.kafka_client import KafkaOptions
from services.feedback.kafka_log import open_kafka_log
from services.feedback.log_options import LogOptions
from services.feedback.sqlite_log import open_sqlite_log
from shared.domain.event_log import EventLog, Fact, LogBatch, LogRecord
from shared.domain.events import Event, EventType
from shared.domain.history import History
from shared.domain.provenance import Provenance
from shared.domain.ranking import Candidates, RequestContext
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.kernel.clock import Clock
from shared.wire.log import fact_to_bytes
from tests.fakes import MemoryLog
from tests.kafka_broker import shared_broker

NOW_MS = 1_700_000_000_000

Answer = TypeVar("Answer")
Failure = TypeVar("Failure", bound=Exception)

OpenLog = Callable[[Path], AbstractAsyncContextManager[EventLog]]


def clock() -> int:
    """The time of these tests."""
    return NOW_MS


@asynccontextmanager
async def open_memory(_folder: Path, now: Clock = clock) -> AsyncIterator[EventLog]:
    """The fake that other tests use: it must behave like the real ones."""
    yield MemoryLog(now)


@asynccontextmanager
async def open_sqlite(folder: Path, now: Clock = clock) -> AsyncIterator[EventLog]:
    """The embedded log, with runs of event ids so short that tests reach the disk."""
    async with open_sqlite_log(folder / "feedback", now, LogOptions(run_ids=16)) as log:
        yield log


@asynccontextmanager
async def open_kafka(folder: Path, now: Clock = clock) -> AsyncIterator[EventLog]:
    """The log in Kafka, over a real broker; the topic is the folder's."""
    options = KafkaOptions(shared_broker().bootstrap, topic_of(folder), partitions=3)
    async with open_kafka_log(folder / "feedback", now, options, LogOptions(run_ids=16)) as log:
        yield log


def topic_of(folder: Path) -> str:
    """A topic for each folder: what is opened again is found again."""
    return f"events-{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}"


def kafka_settings(folder: Path) -> dict[str, object]:
    """What a service is told so that it opens the log of `open_kafka`."""
    bootstrap = shared_broker().bootstrap
    return {
        "log": "kafka",
        "kafka_bootstrap_servers": bootstrap,
        "kafka_topic": topic_of(folder),
        "kafka_partitions": 3,
    }


DURABLE: dict[str, OpenLog] = {"sqlite": open_sqlite, "kafka": open_kafka}
"""Adapters that keep what they have when they are opened again."""
ALL: dict[str, OpenLog] = {"memory": open_memory, **DURABLE}


def event(number: int, user_id: str = "ada", **fields: object) -> Event:
    """Event `number` of a user."""
    values = {
        "event_id": f"event-{number}",
        "item_id": f"item-{number}",
        "event_type": int(EventType.CLICK),
        "event_time_ms": NOW_MS + number,
    }
    return Event(user_id=user_id, **(values | fields))  # type: ignore[arg-type]


def slate(recommendation_id: str, user_id: str = "ada", first_position: int = 0) -> ServedSlate:
    """A small slate of two candidates."""
    numbers = np.array([1, 2], np.float32)
    ranks = np.array([1, 2], np.int32)
    return ServedSlate(
        recommendation_id=recommendation_id,
        user_id=user_id,
        session_id="",
        surface="home",
        served_ms=NOW_MS,
        provenance=Provenance(),
        seed=7,
        history=History.empty(),
        user=None,
        context=RequestContext(),
        candidates=Candidates(("x", "y"), numbers, numbers, numbers, numbers, ranks, numbers, ranks),
        sources=(),
        actions=(),
        action_weights=(),
        probabilities=np.empty((0, 0), np.float32),
        values=np.array([1.0, 0.5]),
        shown_rows=np.array([0], np.int32),
        propensities=np.array([1], np.float32),
        reserve_rows=np.array([1], np.int32),
        first_position=first_position,
    )


async def batches(log: EventLog, after: Watermark | None = None, batch_size: int = 500) -> list[LogBatch]:
    """Everything behind a position."""
    return [batch async for batch in log.tail(after or Watermark(), follow=False, batch_size=batch_size)]


async def records(log: EventLog, after: Watermark | None = None) -> list[LogRecord]:
    """Every record behind a position."""
    return [record for batch in await batches(log, after) for record in batch.records]


async def events_of(log: EventLog, user_id: str) -> list[Event]:
    """A user's events in the log's order."""
    facts = [record.fact for record in await records(log)]
    return [fact for fact in facts if isinstance(fact, Event) and fact.user_id == user_id]


async def until_error(answers: AsyncIterator[Answer], kind: type[Failure]) -> tuple[list[Answer], Failure]:
    """What a stream gives before it fails, and how it fails."""
    found: list[Answer] = []
    try:
        async for answer in answers:
            found.append(answer)  # noqa: PERF401  # a comprehension would lose what came before the failure
    except kind as error:
        return found, error
    raise AssertionError(f"the stream ended well after {len(found)} answers")


def as_bytes(facts: Iterable[Fact | None]) -> list[bytes]:
    """Facts that can be compared and sorted."""
    return sorted(fact_to_bytes(fact) for fact in facts if fact is not None)
