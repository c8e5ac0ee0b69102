"""A circuit breaker: stops asking a dependency that does not answer, and notices soon when it does again.

Written here because none of the libraries fits: pybreaker is made for threads and Tornado, aiobreaker has had no
release since 2021, purgatory knows one threshold and one class of failures; a time-out costs a caller's whole budget,
so it must count for more than a refused connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import grpc
from grpc import StatusCode

from shared.kernel.errors import ErrorReason, NoTimeLeft, ServiceError
from shared.kernel.telemetry import BREAKER_OPEN

SICK: Final = frozenset({StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.DATA_LOSS})


def loop_ms() -> int:
    """Milliseconds on the running event loop's clock, which never jumps."""
    return int(asyncio.get_running_loop().time() * 1e3)


class BreakerState(StrEnum):
    """CLOSED: calls pass. OPEN: calls are refused. HALF_OPEN: one trial call is on its way."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When to open: after so many failures, or time-outs, in a row; and how often to try while open."""

    failures: int = 3
    timeouts: int = 2
    probe_every_ms: int = 250


class CircuitBreaker:
    """Guards the calls to one dependency; belongs to one event loop."""

    def __init__(
        self, dependency: str, limits: BreakerLimits | None = None, clock: Callable[[], int] = loop_ms
    ) -> None:
        self.state = BreakerState.CLOSED
        self._dependency = dependency
        self._limits = limits or BreakerLimits()
        self._clock = clock
        self._failures = self._timeouts = self._opened_ms = 0

    @property
    def trial_in_ms(self) -> int:
        """Time until a call passes; 0 = the next one does, unless a trial is on its way."""
        if self.state is BreakerState.CLOSED:
            return 0
        return max(0, self._opened_ms + self._limits.probe_every_ms - self._clock())

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Lets one call pass and learns from how it ends.

        Raises:
            ServiceError: DEPENDENCY_UNAVAILABLE, without a call, while the breaker is open.
        """
        self._enter()
        try:
            yield
        except BaseException as error:
            self._learn(_code(error))
            raise
        self._learn(StatusCode.OK)

    def _enter(self) -> None:
        if self.state is BreakerState.CLOSED:
            return
        if self.state is BreakerState.HALF_OPEN or self.trial_in_ms:
            raise ServiceError(
                ErrorReason.DEPENDENCY_UNAVAILABLE,
                f"{self._dependency} does not answer; it is tried again every {self._limits.probe_every_ms} ms",
                metadata={"dependency": self._dependency, "code": StatusCode.UNAVAILABLE.name},
                retry_after_ms=self._limits.probe_every_ms,
            )
        self.state = BreakerState.HALF_OPEN

    def _learn(self, code: StatusCode | None) -> None:
        if code is None:
            if self.state is BreakerState.HALF_OPEN:
                self._turn(BreakerState.OPEN)
            return
        self._timeouts = self._timeouts + 1 if code is StatusCode.DEADLINE_EXCEEDED else 0
        failed = code in SICK or self._timeouts > 0
        self._failures = self._failures + 1 if failed else 0
        too_many = self._failures >= self._limits.failures or self._timeouts >= self._limits.timeouts
        if failed and (too_many or self.state is BreakerState.HALF_OPEN):
            self._turn(BreakerState.OPEN)
        elif not failed:
            self._turn(BreakerState.CLOSED)

    def _turn(self, state: BreakerState) -> None:
        if state is BreakerState.OPEN and self.state is not BreakerState.OPEN:
            self._opened_ms = self._clock()
        self.state = state
        BREAKER_OPEN.labels(self._dependency).set(state is BreakerState.OPEN)


def _code(error: BaseException) -> StatusCode | None:
    """What the end of a call says about the dependency; None: nothing, as the caller gave up or failed by itself."""
    match error:
        case NoTimeLeft() | ServiceError(__cause__=NoTimeLeft()):
            return None
        case ServiceError():
            return error.code
        case grpc.aio.AioRpcError():
            return error.code()
        case TimeoutError():
            return StatusCode.DEADLINE_EXCEEDED
        case _:
            return None
