"""A port behind a circuit breaker and a time limit.

While the circuit is open no request waits for the dependency, not even one in 250 ms: the trials that tell when it is
back are made beside the requests, each with the call that was refused last, so that what is tried is what is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar

from services.recommendation.stages import Lost
from shared.kernel.breaker import BreakerState, CircuitBreaker
from shared.kernel.errors import ErrorReason, ServiceError

P = TypeVar("P")
T = TypeVar("T")

LEAST_BUDGET_MS = 1.0
"""With less time than this a call is not begun."""

FAIR_BUDGET_MS = 20.0
"""Missing a shorter budget says nothing about the dependency's health: hurried callers must not open the circuit."""

_REASONS = {
    ErrorReason.NO_BUNDLE.name: "no-bundle",
    ErrorReason.NOT_INSTALLED.name: "not-installed",
    ErrorReason.DEADLINE_EXCEEDED.name: "deadline",
    ErrorReason.OVERLOADED.name: "overloaded",
    ErrorReason.NOT_READY.name: "not-ready",
}


@dataclass(frozen=True, slots=True)
class _Trial(Generic[P]):
    """A call that would have been made were the circuit closed."""

    call: Callable[[P], Awaitable[Any]]
    budget_ms: float


class Guarded(Generic[P]):
    """A port that never makes anybody wait longer than the given budget. `probe` must run beside it."""

    def __init__(self, name: str, port: P, breaker: CircuitBreaker) -> None:
        self.name = name
        self._port = port
        self._breaker = breaker
        self._trial: _Trial[P] | None = None
        self._refused = asyncio.Event()

    async def ask(self, call: Callable[[P], Awaitable[T]], budget_ms: float) -> T:
        """The port's answer.

        Args:
            call: must be harmless to repeat: it may become a trial.
            budget_ms: longest wait.

        Raises:
            Lost: the circuit is open, the budget was not enough, or the service gave an error.
        """
        if budget_ms < LEAST_BUDGET_MS:
            raise Lost("deadline", f"no time was left to ask {self.name}")
        try:
            return await self._guarded(call, budget_ms)
        except TimeoutError:
            raise self._late(budget_ms) from None
        except ServiceError as error:
            raise Lost(
                _REASONS.get(error.reason.name, "unavailable"), f"{self.name} answered {error.reason.name}"
            ) from error
        except ValueError as error:  # the client could not read it as the contract says
            raise Lost("invalid-answer", f"{self.name} gave an answer that breaks the contract: {error}") from error
        finally:
            if self._breaker.state is not BreakerState.CLOSED:
                self._trial = _Trial(call, max(budget_ms, FAIR_BUDGET_MS))
                self._refused.set()

    async def probe(self) -> NoReturn:
        """While the circuit is open, try whether the dependency is back; for ever."""
        while True:
            await self._refused.wait()
            self._refused.clear()
            while self._breaker.state is not BreakerState.CLOSED and self._trial:
                await asyncio.sleep(self._breaker.trial_in_ms / 1e3)
                await self._try(self._trial)
            self._trial = None

    async def _guarded(self, call: Callable[[P], Awaitable[T]], budget_ms: float) -> T:
        if self._breaker.state is not BreakerState.CLOSED:
            raise Lost("circuit-open", f"{self.name} did not answer lately and is not asked now")
        with self._breaker.guard():
            return await self._within(call, budget_ms)

    async def _within(self, call: Callable[[P], Awaitable[T]], budget_ms: float) -> T:
        try:
            async with asyncio.timeout(budget_ms / 1e3):
                return await call(self._port)
        except TimeoutError:
            if budget_ms < FAIR_BUDGET_MS:
                raise self._late(budget_ms) from None
            raise

    async def _try(self, trial: _Trial[P]) -> None:
        try:
            with self._breaker.guard():
                await self._within(trial.call, trial.budget_ms)
        except (ServiceError, TimeoutError, ValueError):
            return  # the breaker has learnt from it, and nobody waits for the answer

    def _late(self, budget_ms: float) -> Lost:
        return Lost("deadline", f"{self.name} did not answer within {budget_ms:.0f} ms")
