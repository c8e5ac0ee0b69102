"""Asking sources at once: each in isolation."""

from __future__ import annotations

import asyncio

import numpy as np

from services.candidate_generation.asking import ask
from services.candidate_generation.query import Query, SourceAnswer
from shared.domain.items import Item
from shared.domain.provenance import Degradation
from tests.unit.candidate_generation.rooms import Room, asked
from tests.unit.candidate_generation.waiting import until

LOST_SOMETHING = Degradation("well", "stale", "")


class Source:
    """Answers with its first slots, or misbehaves."""

    def __init__(self, name: str, *, error: Exception | None = None, late: bool = False, applies: bool = True) -> None:
        self.name, self._error, self._late, self._applies = name, error, late, applies
        self.cancelled = False
        self.quotas: list[int] = []

    def applies(self, query: Query) -> bool:
        return self._applies

    async def search(self, query: Query, quota: int) -> SourceAnswer:
        self.quotas.append(quota)
        if self._error is not None:
            raise self._error
        if self._late:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        return SourceAnswer(np.arange(1), np.ones(1, np.float32), (LOST_SOMETHING,) if self.name == "well" else ())


def _query() -> Query:
    return Room(Item("a")).query(asked())


async def test_a_failing_and_a_late_source_are_named_and_the_others_answer() -> None:
    sources = [Source("well"), Source("broken", error=RuntimeError("boom")), Source("late", late=True)]

    result = await ask(sources, _query(), {"well": 1, "broken": 1, "late": 1}, timeout_ms=20)

    assert [name for name, _ in result.answers] == ["well"]
    assert [(lost.stage, lost.reason) for lost in result.degraded] == [
        ("well", "stale"),
        ("broken", "failed"),
        ("late", "deadline"),
    ]
    assert [timing.stage for timing in result.timings] == ["source:well"]


async def test_a_late_source_is_stopped() -> None:
    late = Source("late", late=True)

    await ask([late], _query(), {"late": 1}, timeout_ms=1)
    await asyncio.sleep(0)

    assert late.cancelled


async def test_a_request_that_is_given_up_stops_its_sources() -> None:
    late = Source("late", late=True)
    request = asyncio.create_task(ask([late], _query(), {"late": 1}, timeout_ms=60_000))
    await until(lambda: bool(late.quotas))

    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await asyncio.sleep(0)

    assert late.cancelled


async def test_sources_without_a_quota_or_a_reason_are_not_asked() -> None:
    off, unnamed, pointless = Source("off"), Source("unnamed"), Source("pointless", applies=False)

    result = await ask([off, unnamed, pointless], _query(), {"off": 0, "pointless": 5}, timeout_ms=20)

    assert result.answers == ()
    assert (off.quotas, unnamed.quotas, pointless.quotas) == ([], [], [])


async def test_a_budget_that_is_used_up_still_gives_what_needs_no_waiting() -> None:
    result = await ask([Source("well"), Source("late", late=True)], _query(), {"well": 1, "late": 1}, timeout_ms=-5)

    assert [name for name, _ in result.answers] == ["well"]
