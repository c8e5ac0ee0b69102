"""The closed loop: as many callers as asked for, and what their answers come to."""

from __future__ import annotations

import asyncio

import pytest

from tests.benchmarks.closed_loop import Speed, middle_of, speed_of


async def test_as_many_callers_as_asked_for_wait_at_once() -> None:
    waiting, most = 0, 0

    async def call(_: int) -> None:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.001)
        waiting -= 1

    speed = await speed_of(call, concurrency=3, seconds=0.05)

    assert most == 3
    assert speed.rate > 0
    assert speed.p99_ms >= speed.p50_ms >= 1


async def test_no_request_is_asked_twice() -> None:
    numbers: list[int] = []

    async def call(number: int) -> None:
        numbers.append(number)
        await asyncio.sleep(0.001)

    await speed_of(call, concurrency=2, seconds=0.02)

    assert numbers == list(range(len(numbers)))


async def test_a_failed_request_ends_the_measurement() -> None:
    async def call(_: int) -> None:
        raise ConnectionError

    with pytest.raises(ExceptionGroup):
        await speed_of(call, concurrency=2, seconds=0.01)


def test_each_figure_of_repeats_is_its_own_median() -> None:
    repeats = [Speed(100, 1, 9), Speed(300, 3, 5), Speed(200, 2, 7)]

    assert middle_of(repeats) == Speed(200, 2, 7)
