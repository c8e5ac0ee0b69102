"""The current request: its fields, its id and its time."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable

from shared.kernel.context import RequestContext, annotate, enter, remaining_ms, request_id


def inside(context: RequestContext, act: Callable[[], object]) -> object:
    """Does something as part of a request that ends with it."""

    def entered() -> object:
        enter(context)
        return act()

    return contextvars.copy_context().run(entered)


def test_outside_a_request_there_is_no_id_no_deadline_and_no_line_to_add_to() -> None:
    annotate(anything=1)

    assert request_id() == ""
    assert remaining_ms() is None


def test_a_request_without_a_deadline_has_no_limit() -> None:
    assert inside(RequestContext("r"), remaining_ms) is None


def test_what_is_left_of_a_deadline_never_goes_below_zero() -> None:
    assert inside(RequestContext("r", time.monotonic() - 5), remaining_ms) == 0


def test_what_is_left_of_a_deadline_is_told_in_milliseconds() -> None:
    left = inside(RequestContext("r", time.monotonic() + 3_600), remaining_ms)

    assert isinstance(left, int)
    assert 3_000_000 < left <= 3_600_000


async def test_child_tasks_belong_to_the_request_and_add_to_its_line() -> None:
    context = RequestContext("r-1")

    async def child(number: int) -> str:
        annotate(**{f"child_{number}": number})
        return request_id()

    async def request() -> list[str]:
        enter(context)
        return list(await asyncio.gather(child(1), child(2)))

    assert await asyncio.create_task(request()) == ["r-1", "r-1"]
    assert context.fields == {"child_1": 1, "child_2": 2}
    assert request_id() == ""
