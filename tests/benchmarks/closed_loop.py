"""Closed-loop load for comparisons: a fixed number of callers, each asks again as soon as it was answered.

It says how fast a server can be, not how long its users wait: that is `winnow bench`'s open loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

Call = Callable[[int], Awaitable[object]]
"""One request, by its number; raises where the answer is none."""

WARM_UP_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Speed:
    """What a run came to.

    Attributes:
        rate: answers a second.
        p50_ms, p99_ms: of their latencies.
    """

    rate: float
    p50_ms: float
    p99_ms: float


async def speed_of(call: Call, concurrency: int, seconds: float) -> Speed:
    """Ask for so many seconds, after a short warm-up.

    Args:
        call: the request.
        concurrency: callers.
        seconds: how long each caller goes on.
    """
    numbers = count()
    await _ask(call, numbers, concurrency, WARM_UP_SECONDS)
    began = time.perf_counter()
    latencies = await _ask(call, numbers, concurrency, seconds)
    took = time.perf_counter() - began
    p50, p99 = np.percentile(latencies, (50, 99)) * 1e3
    return Speed(len(latencies) / took, float(p50), float(p99))


def middle_of(speeds: Sequence[Speed]) -> Speed:
    """The median of each figure over repeats."""
    rates, p50s, p99s = zip(*((each.rate, each.p50_ms, each.p99_ms) for each in speeds), strict=True)
    return Speed(float(np.median(rates)), float(np.median(p50s)), float(np.median(p99s)))


async def _ask(call: Call, numbers: count[int], concurrency: int, seconds: float) -> list[float]:
    end = time.perf_counter() + seconds
    latencies: list[float] = []

    async def caller() -> None:
        while (began := time.perf_counter()) < end:
            await call(next(numbers))
            latencies.append(time.perf_counter() - began)

    async with asyncio.TaskGroup() as callers:
        for _ in range(concurrency):
            callers.create_task(caller())
    return latencies
