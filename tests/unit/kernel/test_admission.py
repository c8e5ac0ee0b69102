"""How long a stream of requests may be silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from shared.kernel.admission import lively
from shared.kernel.errors import ErrorReason, ServiceError
from tests.simulated_time import simulated


async def after(gaps_s: Sequence[float]) -> AsyncIterator[int]:
    """Numbered messages, each so long after the one before."""
    for number, gap_s in enumerate(gaps_s):
        await asyncio.sleep(gap_s)
        yield number


def taken(gaps_s: Sequence[float], idle_ms: int) -> tuple[list[int], ServiceError | None]:
    """The messages that came through, and the error that ended them."""

    async def take() -> tuple[list[int], ServiceError | None]:
        found: list[int] = []
        try:
            async for each in lively(after(gaps_s), idle_ms):
                found.append(each)  # noqa: PERF401 - those before an error are kept
        except ServiceError as error:
            return found, error
        return found, None

    return simulated(take())


def test_a_stream_that_speaks_often_enough_lasts_as_long_as_it_likes() -> None:
    assert taken([0.9] * 100, idle_ms=1_000) == (list(range(100)), None)


def test_a_stream_that_falls_silent_is_ended_and_what_came_before_was_taken() -> None:
    found, error = taken([0.9, 0.9, 1.1, 0.9], idle_ms=1_000)

    assert found == [0, 1]
    assert error is not None
    assert (error.reason, error.metadata) == (ErrorReason.DEADLINE_EXCEEDED, {"idleMs": "1000"})


@pytest.mark.parametrize("gap_s", [0.0, 1e6])
def test_without_a_limit_silence_may_last(gap_s: float) -> None:
    assert taken([gap_s] * 3, idle_ms=0) == ([0, 1, 2], None)
