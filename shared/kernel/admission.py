"""Which requests a server takes on, and how it lets go of the ones that would never end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from shared.kernel.errors import ErrorReason, ServiceError


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What requests may ask of a server.

    Attributes:
        max_request_bytes: Size of one message; larger ones are refused before they are decoded.
        default_deadline_ms: Deadline of requests with a single answer whose caller set none.
        max_in_flight: Requests with a single answer that are worked on at the same time.
    """

    max_request_bytes: int = 4 * 1024 * 1024
    default_deadline_ms: int = 10_000
    max_in_flight: int = 1_000


class Admission:
    """Counts the requests in flight and knows the streams that are open."""

    def __init__(self, max_in_flight: int) -> None:
        self.draining = False
        self._max_in_flight = max_in_flight
        self._in_flight = 0
        self._streams: set[asyncio.Task[Any]] = set()

    @contextmanager
    def single(self) -> Iterator[None]:
        """Holds a place for a request with a single answer.

        Raises:
            ServiceError: OVERLOADED: all places are taken. Better told at once than after the deadline.
        """
        if self._in_flight >= self._max_in_flight:
            limit = str(self._max_in_flight)
            message = f"{limit} requests are already being answered; try again later"
            raise ServiceError(ErrorReason.OVERLOADED, message, metadata={"limit": limit})
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Knows the current task as an open stream."""
        task = asyncio.current_task()
        assert task is not None, "a stream is answered by a task"  # noqa: S101 - for the type checker; grpc.aio runs tasks
        self._streams.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if self.draining and task.uncancel() == 0:
                raise _draining() from None
            raise
        finally:
            self._streams.discard(task)

    def drain(self) -> None:
        """Ends the open streams: each tells its caller UNAVAILABLE, so that it goes on elsewhere."""
        self.draining = True
        for task in self._streams:
            task.cancel()


def _draining() -> ServiceError:
    return ServiceError(
        ErrorReason.NOT_READY, "the service stops; call another instance", metadata={"state": "draining"}
    )
