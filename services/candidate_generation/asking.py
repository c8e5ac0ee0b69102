"""Asks all sources at once, each in isolation: one that fails or is late is named, and the others go on without it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from services.candidate_generation.query import Query, Source, SourceAnswer
from shared.domain.provenance import Degradation, StageTiming
from shared.kernel.telemetry import DEGRADED, STAGE_SECONDS

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Asked:
    """What came back in time.

    Attributes:
        answers: by source, in the order of the sources.
        degraded: sources that failed or were late, and what the others lost.
        timings: of the sources that answered.
    """

    answers: tuple[tuple[str, SourceAnswer], ...]
    degraded: tuple[Degradation, ...]
    timings: tuple[StageTiming, ...]


async def ask(sources: Sequence[Source], query: Query, quotas: Mapping[str, int], timeout_ms: float) -> Asked:
    """Ask every source that has a quota and to which the request applies."""
    asked = [source for source in sources if quotas.get(source.name, 0) > 0 and source.applies(query)]
    tasks = [asyncio.create_task(_timed(source, query, quotas[source.name])) for source in asked]
    if not tasks:
        return Asked((), (), ())
    try:
        await asyncio.wait(tasks, timeout=max(0.0, timeout_ms) / 1000)
    finally:
        for task in tasks:
            task.cancel()
    answers, degraded, timings = [], [], []
    for source, task in zip(asked, tasks, strict=True):
        if lost := _loss(source, task):
            degraded.append(lost)
            DEGRADED.labels(lost.stage, lost.reason).inc()
            continue
        answer, duration_ms = task.result()
        answers.append((source.name, answer))
        degraded += answer.degraded
        timings.append(StageTiming(f"source:{source.name}", duration_ms))
        STAGE_SECONDS.labels(f"source:{source.name}").observe(duration_ms / 1000)
    return Asked(tuple(answers), tuple(degraded), tuple(timings))


async def _timed(source: Source, query: Query, quota: int) -> tuple[SourceAnswer, float]:
    begun = time.perf_counter()
    answer = await source.search(query, quota)
    return answer, (time.perf_counter() - begun) * 1000


def _loss(source: Source, task: asyncio.Task[tuple[SourceAnswer, float]]) -> Degradation | None:
    if not task.done() or task.cancelled():
        return Degradation(source.name, "deadline", "it was late: the other sources answered")
    error = task.exception()
    if error is None:
        return None
    _log.error("source failed", source=source.name, exc_info=error)
    return Degradation(source.name, "failed", "it failed: the other sources answered")
