"""Background tasks that are never silently dead: a failure is logged, counted, shown in readiness, and tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Self

import grpc
import structlog

from shared.kernel.context import outside
from shared.kernel.errors import ServiceError, from_rpc_error
from shared.kernel.readiness import Readiness
from shared.kernel.telemetry import TASK_FAILURES

log = structlog.get_logger()

DOUBLINGS: Final = 20
"""More would only make the number longer: the limit is reached long before."""

TaskFactory = Callable[[], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a failed task waits before it begins again: doubling from `first_ms` to `limit_ms`.

    A task that has run for `healthy_after_ms` counts as well: readiness is given back, and the wait starts over.
    """

    first_ms: int = 100
    limit_ms: int = 10_000
    healthy_after_ms: int = 1_000

    def wait_ms(self, failures: int) -> int:
        """The wait after so many earlier failures in a row."""
        return min(self.first_ms << min(failures, DOUBLINGS), self.limit_ms)


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
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def start(self, name: str, factory: TaskFactory) -> None:
        """Runs what `factory` makes; anew after each failure, until it returns by itself. Names are used once."""
        self._tasks[name] = asyncio.create_task(self._supervise(name, factory), name=name, context=outside())

    async def ended(self, name: str) -> None:
        """Returns when the task of this name has ended by itself."""
        await asyncio.wait([self._tasks[name]])

    async def _supervise(self, name: str, factory: TaskFactory) -> None:
        failures = 0
        while (error := await self._run(name, factory)) is not None:
            failures = 0 if name not in self.failures else failures
            wait_ms = self._backoff.wait_ms(failures)
            failures += 1
            self._failed(name, error, wait_ms)
            await asyncio.sleep(wait_ms / 1000)

    async def _run(self, name: str, factory: TaskFactory) -> Exception | None:
        """One run; gives what it failed with."""
        well = asyncio.get_running_loop().call_later(self._backoff.healthy_after_ms / 1000, self._well, name)
        try:
            await factory()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is reported and the task begins again
            return error
        finally:
            well.cancel()
        self._well(name)
        return None

    def _failed(self, name: str, error: Exception, wait_ms: int) -> None:
        told = from_rpc_error(error) if isinstance(error, grpc.RpcError) else error
        trace = None if isinstance(told, ServiceError) else error
        log.error("task.failed", task=name, error=str(told), retry_in_ms=wait_ms, exc_info=trace)
        TASK_FAILURES.labels(name).inc()
        self.failures[name] = f"{name} failed: {type(error).__name__}"
        if self._readiness:
            self._readiness.hold(name, self.failures[name])

    def _well(self, name: str) -> None:
        self.failures.pop(name, None)
        if self._readiness:
            self._readiness.release(name)
