"""The services behind the front, each behind a circuit breaker and a time limit: they answer or are lost at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.recommendation.stages import Lost
from shared.domain.services import CandidateGeneration, Features, Feedback, Ranking
from shared.kernel.breaker import CircuitBreaker
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


class Guarded(Generic[P]):
    """A port that never makes anybody wait longer than the given budget."""

    def __init__(self, name: str, port: P, breaker: CircuitBreaker) -> None:
        self.name = name
        self._port = port
        self._breaker = breaker

    async def ask(self, call: Callable[[P], Awaitable[T]], budget_ms: float) -> T:
        """The port's answer.

        Raises:
            Lost: the circuit is open, the budget was not enough, or the service gave an error.
        """
        if budget_ms < LEAST_BUDGET_MS:
            raise Lost("deadline", f"no time was left to ask {self.name}")
        called = False
        try:
            with self._breaker.guard():
                called = True
                return await self._within(call, budget_ms)
        except TimeoutError:
            raise self._late(budget_ms) from None
        except ServiceError as error:
            raise self._failed(error, called=called) from error
        except ValueError as error:  # the client could not read it as the contract says
            raise Lost("invalid-answer", f"{self.name} gave an answer that breaks the contract: {error}") from error

    async def _within(self, call: Callable[[P], Awaitable[T]], budget_ms: float) -> T:
        try:
            async with asyncio.timeout(budget_ms / 1e3):
                return await call(self._port)
        except TimeoutError:
            if budget_ms < FAIR_BUDGET_MS:
                raise self._late(budget_ms) from None
            raise

    def _late(self, budget_ms: float) -> Lost:
        return Lost("deadline", f"{self.name} did not answer within {budget_ms:.0f} ms")

    def _failed(self, error: ServiceError, *, called: bool) -> Lost:
        if not called:
            return Lost("circuit-open", f"{self.name} did not answer lately and is not asked now")
        return Lost(_REASONS.get(error.reason.name, "unavailable"), f"{self.name} answered {error.reason.name}")


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Every service that the front asks."""

    feedback: Guarded[Feedback]
    features: Guarded[Features]
    candidates: Guarded[CandidateGeneration]
    ranking: Guarded[Ranking]

    @classmethod
    def of(
        cls, feedback: Feedback, features: Features, candidates: CandidateGeneration, ranking: Ranking
    ) -> Dependencies:
        """Each port with a breaker of its own."""
        return cls(
            Guarded("feedback", feedback, CircuitBreaker("feedback")),
            Guarded("feature", features, CircuitBreaker("feature")),
            Guarded("candidate-generation", candidates, CircuitBreaker("candidate-generation")),
            Guarded("ranking", ranking, CircuitBreaker("ranking")),
        )
