"""Background tasks that are never silently dead: a failure is logged, counted, shown in readiness, and tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import structlog

from shared.kernel.readiness import Readiness
from shared.kernel.telemetry import TASK_FAILURES

log = structlog.get_logger()

TaskFactory = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a failed task waits before it begins again: doubling from `first_ms` to `limit_ms`.

    A task that has run for `healthy_after_ms` counts as well again: readiness is given back, the wait starts over.
    """

    first_ms: int = 100
    limit_ms: int = 10_000
    healthy_after_ms: int = 1_000


class Supervised:
    """Runs background tasks while its `async with` lasts, and cancels them at its end.

    Args:
        readiness: Held back while a task fails; None: failures are only logged and counted.
        backoff: How soon a failed task begins again.
    """

    def __init__(self, readiness: Readiness | None = None, backoff: Backoff | None = None) -> None:
        self.failures: dict[str, str] = {}
        self._readiness = readiness
        self._backoff = backoff or Backoff()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, name: str, factory: TaskFactory) -> None:
        """Runs what `factory` makes; anew after each failure, until it returns by itself."""
        task = asyncio.create_task(self._supervise(name, factory), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _supervise(self, name: str, factory: TaskFactory) -> None:
        loop = asyncio.get_running_loop()
        wait_ms = self._backoff.first_ms
        while True:
            started = loop.time()
            well = loop.call_later(self._backoff.healthy_after_ms / 1000, self._recovered, name)
            try:
                await factory()
            except Exception as error:
                log.exception("task.failed", task=name, retry_in_ms=wait_ms)
                self._failed(name, error)
            else:
                self._recovered(name)
                return
            finally:
                well.cancel()
            if loop.time() - started >= self._backoff.healthy_after_ms / 1000:
                wait_ms = self._backoff.first_ms
            await asyncio.sleep(wait_ms / 1000)
            wait_ms = min(2 * wait_ms, self._backoff.limit_ms)

    def _failed(self, name: str, error: Exception) -> None:
        reason = f"{name} failed: {type(error).__name__}"
        TASK_FAILURES.labels(name).inc()
        self.failures[name] = reason
        if self._readiness:
            self._readiness.hold(name, reason)

    def _recovered(self, name: str) -> None:
        self.failures.pop(name, None)
        if self._readiness:
            self._readiness.release(name)
