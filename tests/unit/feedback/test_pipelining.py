"""Answers in the order of the requests, several at work, and no more taken from the producer than fits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

from hypothesis import given
from hypothesis import strategies as st

from services.feedback.pipelining import in_order
from tests.contract.event_log_adapters import until_error


async def count(stop: int, taken: list[int] | None = None) -> AsyncIterator[int]:
    for number in range(stop):
        if taken is not None:
            taken.append(number)
        yield number


class Work:
    """Work that ends when it is told to; remembers what was begun and what was cancelled."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self.ends: dict[int, asyncio.Event] = {}

    async def __call__(self, number: int) -> int:
        self.begun.append(number)
        end = self.ends.setdefault(number, asyncio.Event())
        try:
            await end.wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        return number

    def end(self, number: int) -> None:
        self.ends.setdefault(number, asyncio.Event()).set()


async def settle() -> None:
    """Let every task go as far as it can by itself."""
    for _ in range(50):
        await asyncio.sleep(0)


@given(st.permutations(range(6)), st.integers(1, 8))
def test_answers_keep_the_order_however_the_work_ends(ends: list[int], limit: int) -> None:
    async def run() -> list[int]:
        work = Work()
        answers = asyncio.create_task(_collect(in_order(count(6), work, limit)))
        for number in ends:
            work.end(number)
            await settle()
        return await answers

    assert asyncio.run(run()) == list(range(6))


async def test_no_more_requests_are_begun_than_may_be_at_work() -> None:
    taken: list[int] = []
    work = Work()
    async with aclosing(in_order(count(100, taken), work, 4)) as answers:
        first = asyncio.create_task(anext(answers))
        await settle()

        assert work.begun == [0, 1, 2, 3]
        assert len(taken) == 5

        work.end(0)
        assert await first == 0


async def test_a_consumer_that_does_not_take_answers_holds_the_producer_up() -> None:
    taken: list[int] = []

    async def at_once(number: int) -> int:
        return number

    async with aclosing(in_order(count(100, taken), at_once, 4)) as answers:
        await anext(answers)
        await settle()

        assert len(taken) <= 6


async def test_a_failure_ends_the_stream_behind_the_answers_before_it() -> None:
    async def work(number: int) -> int:
        if number == 2:
            raise OSError("full")
        return number

    answers, error = await until_error(in_order(count(100), work, 4), OSError)

    assert answers == [0, 1]
    assert str(error) == "full"


async def test_what_fails_in_the_producer_reaches_the_consumer_behind_the_answers() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 0
        raise ValueError("no request")

    async def at_once(number: int) -> int:
        return number

    answers, error = await until_error(in_order(broken(), at_once, 4), ValueError)

    assert answers == [0]
    assert str(error) == "no request"


async def test_a_consumer_that_goes_ends_the_work() -> None:
    work = Work()
    answers = in_order(count(100), work, 4)
    waiting = asyncio.create_task(anext(answers))
    await settle()

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert sorted(work.cancelled) == [0, 1, 2, 3]


async def _collect(answers: AsyncIterator[int]) -> list[int]:
    return [answer async for answer in answers]
