"""Many requests of one stream at a time, answers in their order, and a producer that cannot run ahead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import Final, TypeVar

BATCHES_IN_FLIGHT: Final = 16
"""Batches of one stream that wait for the disk; the stream is not read further meanwhile."""

Request = TypeVar("Request")
Answer = TypeVar("Answer")


async def in_order(
    requests: AsyncIterable[Request], work: Callable[[Request], Awaitable[Answer]], limit: int
) -> AsyncGenerator[Answer, None]:
    """The answers to a stream's requests.

    Args:
        requests: is read on while fewer than `limit` requests are worked on: what it is fed from feels the rest.
        work: is begun in request order; the first failure ends the stream behind the answers before it.
        limit: requests that are worked on at a time.
    """
    window = asyncio.Semaphore(limit)
    begun: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue()
    reading = asyncio.create_task(_read(requests, work, window, begun))
    try:
        while (task := await begun.get()) is not None:
            yield await task
            window.release()
        await reading
    finally:
        left = [task for _ in range(begun.qsize()) if (task := begun.get_nowait()) is not None]
        for each in (reading, *left):
            each.cancel()
        await asyncio.gather(reading, *left, return_exceptions=True)


async def _read(
    requests: AsyncIterable[Request],
    work: Callable[[Request], Awaitable[Answer]],
    window: asyncio.Semaphore,
    begun: asyncio.Queue[asyncio.Task[Answer] | None],
) -> None:
    async def one(request: Request) -> Answer:
        return await work(request)

    try:
        async for request in requests:
            await window.acquire()
            begun.put_nowait(asyncio.create_task(one(request)))
    finally:
        begun.put_nowait(None)
