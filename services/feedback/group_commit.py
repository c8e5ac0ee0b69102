"""Group commit: one thread takes whatever waits, makes one transaction of it, and wakes the waiters on the event loop.

While the disk works on a group, the next one gathers, so the groups grow with the load and a commit's price is shared
(DeWitt et al. 1984, "Implementation Techniques for Main Memory Database Systems", section 5). Who brings work while too
much waits already is held up: that is the back-pressure that a stream hands on to its producer.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from services.feedback.storage_errors import log_closed
from services.feedback.telemetry import WAITING_BYTES
from shared.kernel.errors import ErrorReason, ServiceError

Job = TypeVar("Job")
Position = TypeVar("Position")
Answer = TypeVar("Answer")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class CommitLimits:
    """How much work may gather.

    Attributes:
        group_weight: a group is closed when it has this much.
        waiting_weight: who comes when this much waits is held up.
    """

    group_weight: int
    waiting_weight: int


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Job, Position]):
    work: Sequence[Job]
    weight: int
    future: asyncio.Future[Position]


@dataclass(frozen=True, slots=True)
class _Done(Generic[Position]):
    position: Position


class GroupCommit(Generic[Job, Position]):
    """Runs commits one after another in a thread of its own. Belongs to the running event loop.

    Args:
        commit: writes the work of a group, all or nothing; gives the position behind the last record.
        committed: told on the event loop, before the waiters, how far the log goes now.
        limits: how much may gather.
    """

    def __init__(
        self, commit: Callable[[list[Job]], Position], committed: Callable[[Position], None], limits: CommitLimits
    ) -> None:
        self._commit = commit
        self._committed = committed
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "log-writer")
        self._lock = threading.Lock()
        self._queue: deque[_Waiting[Job, Position]] = deque()
        self._scheduled = False
        self._room = _Room(limits.waiting_weight)
        self._closed = False

    async def submit(self, work: Sequence[Job], weight: int) -> Position:
        """Have work committed; it is taken in the order of the calls. Gives the position behind it.

        Raises:
            ServiceError: what `commit` raised for the group, or NOT_READY when the log is closed.
        """
        await self._room.enter(weight)
        WAITING_BYTES.set(self._room.taken)
        if self._closed:
            self._room.leave(weight)
            raise log_closed()
        answer: asyncio.Future[Position] = self._loop.create_future()
        with self._lock:
            self._queue.append(_Waiting(work, weight, answer))
            self._schedule()
        return await answer

    async def alone(self, function: Callable[[], Answer]) -> Answer:
        """Run a function in the writer's thread, between two groups.

        Raises:
            ServiceError: NOT_READY when the log is closed.
        """
        if self._closed:
            raise log_closed()
        return await self._loop.run_in_executor(self._thread, function)

    async def close(self) -> None:
        """Refuse new work, finish what waits, end the thread."""
        self._closed = True
        while self._room.taken:
            await self._room.wait_for_change()
        await asyncio.to_thread(self._thread.shutdown)

    def _schedule(self) -> None:
        if self._queue and not self._scheduled:
            self._scheduled = True
            self._thread.submit(self._commit_next).add_done_callback(_report)

    def _commit_next(self) -> None:
        group = self._take()
        outcome: _Done[Position] | ServiceError | None = None
        try:
            outcome = _Done(self._commit([job for waiting in group for job in waiting.work]))
        except ServiceError as error:
            outcome = error
        finally:
            self._loop.call_soon_threadsafe(self._settle, group, outcome)
            with self._lock:
                self._scheduled = False
                self._schedule()

    def _take(self) -> list[_Waiting[Job, Position]]:
        group: list[_Waiting[Job, Position]] = []
        weight = 0
        with self._lock:
            while self._queue and (not group or weight + self._queue[0].weight <= self._limits.group_weight):
                group.append(self._queue.popleft())
                weight += group[-1].weight
        return group

    def _settle(self, group: Sequence[_Waiting[Job, Position]], outcome: _Done[Position] | ServiceError | None) -> None:
        if isinstance(outcome, _Done):
            self._committed(outcome.position)
        for waiting in group:
            self._room.leave(waiting.weight)
            if waiting.future.done():  # its caller is gone
                continue
            if isinstance(outcome, _Done):
                waiting.future.set_result(outcome.position)
            else:
                waiting.future.set_exception(outcome or _writer_failed())
        WAITING_BYTES.set(self._room.taken)


class _Room:
    """A bound on the weight of what waits; first come, first served."""

    def __init__(self, limit: int) -> None:
        self.taken = 0
        self._limit = limit
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._changed = asyncio.Event()

    async def enter(self, weight: int) -> None:
        """Returns when there is room; something larger than the limit goes in alone."""
        if not self._queue and self._fits(weight):
            self.taken += weight
            return
        ticket = (weight, asyncio.get_running_loop().create_future())
        self._queue.append(ticket)
        try:
            await ticket[1]
        except asyncio.CancelledError:
            if ticket in self._queue:
                self._queue.remove(ticket)
            elif not ticket[1].cancelled():
                self.leave(weight)
            raise

    def leave(self, weight: int) -> None:
        """Gives room back to who waits longest."""
        self.taken -= weight
        while self._queue and self._fits(self._queue[0][0]):
            next_weight, entered = self._queue.popleft()
            if not entered.cancelled():
                self.taken += next_weight
                entered.set_result(None)
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for_change(self) -> None:
        """Returns when somebody has left."""
        await self._changed.wait()

    def _fits(self, weight: int) -> bool:
        return not self.taken or self.taken + weight <= self._limit


def _report(commit: Future[None]) -> None:
    if error := commit.exception():
        log.error("log_writer.failed", exc_info=error)


def _writer_failed() -> ServiceError:
    message = "the log's writer failed and nothing of this request was kept; the service's log says why"
    return ServiceError(ErrorReason.INTERNAL, message)
