"""Which requests a server takes on, and how it lets go of the ones that would never end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from shared.kernel.backlog import Backlog
from shared.kernel.errors import ErrorReason, ServiceError
from shared.kernel.telemetry import STREAMS

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What requests may ask of a server.

    Attributes:
        max_request_bytes: Size of one message; larger ones are refused before they are decoded.
        default_deadline_ms: Deadline of requests with a single answer whose caller set none.
        max_in_flight: Requests with a single answer that are worked on at the same time.
        max_streams: Streams that are open at the same time.
        max_streams_per_client: The same for one caller, so that none can take all of them.
        stream_idle_ms: A caller that streams requests and sends none for so long is let go; 0: never.
        backlog_ms: Calls are refused while they wait longer than this before they are taken up; 0: never.
    """

    max_request_bytes: int = 4 * 1024 * 1024
    default_deadline_ms: int = 10_000
    max_in_flight: int = 1_000
    max_streams: int = 1_000
    max_streams_per_client: int = 200
    stream_idle_ms: int = 0
    backlog_ms: int = 0


class Admission:
    """Counts the requests in flight and knows the streams that are open."""

    def __init__(self, limits: RequestLimits) -> None:
        self.draining = False
        self.backlog = Backlog(limits.backlog_ms)
        self._limits = limits
        self._in_flight = 0
        self._streams: set[asyncio.Task[Any]] = set()
        self._streams_of: Counter[str] = Counter()

    @contextmanager
    def single(self) -> Iterator[None]:
        """Holds a place for a request with a single answer.

        Raises:
            ServiceError: OVERLOADED: all places are taken. Better told at once than after the deadline.
        """
        self.backlog.check()
        if self._in_flight >= self._limits.max_in_flight:
            raise _full(f"{self._limits.max_in_flight} requests are already being answered", self._limits.max_in_flight)
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    @contextmanager
    def stream(self, client: str = "") -> Iterator[None]:
        """Knows the current task as an open stream of a caller.

        Raises:
            ServiceError: OVERLOADED: too many are open, of this caller or of all.
        """
        if self._streams_of[client] >= (most := self._limits.max_streams_per_client):
            raise _full(f"{most} streams of this caller are open already", most)
        if len(self._streams) >= (most := self._limits.max_streams):
            raise _full(f"{most} streams are open already", most)
        with self._open(client):
            yield

    @contextmanager
    def _open(self, client: str) -> Iterator[None]:
        task = asyncio.current_task()
        assert task is not None, "a stream is answered by a task"  # noqa: S101 - for the type checker; grpc.aio runs tasks
        self._streams.add(task)
        self._streams_of[client] += 1
        STREAMS.inc()
        try:
            yield
        except asyncio.CancelledError:
            if self.draining and task.uncancel() == 0:
                raise _draining() from None
            raise
        finally:
            self._streams.discard(task)
            self._streams_of[client] -= 1
            self._streams_of += Counter()  # forgets who has none
            STREAMS.dec()

    def drain(self) -> None:
        """Ends the open streams: each tells its caller UNAVAILABLE, so that it goes on elsewhere."""
        self.draining = True
        for task in self._streams:
            task.cancel()


async def lively(messages: AsyncIterable[T], idle_ms: int) -> AsyncIterator[T]:
    """The messages of a stream, as long as none lets wait for more than `idle_ms`; 0: however long it takes.

    Raises:
        ServiceError: DEADLINE_EXCEEDED: nothing came.
    """
    incoming = aiter(messages)
    while True:
        try:
            async with asyncio.timeout(idle_ms / 1000 or None):
                message = await anext(incoming)
        except StopAsyncIteration:
            return
        except TimeoutError:
            told = f"no message came for {idle_ms} ms; open a stream again when there is something to send"
            raise ServiceError(ErrorReason.DEADLINE_EXCEEDED, told, metadata={"idleMs": str(idle_ms)}) from None
        yield message


def _full(what: str, limit: int) -> ServiceError:
    return ServiceError(ErrorReason.OVERLOADED, f"{what}; try again later", metadata={"limit": str(limit)})


def _draining() -> ServiceError:
    return ServiceError(
        ErrorReason.NOT_READY, "the service stops; call another instance", metadata={"state": "draining"}
    )
