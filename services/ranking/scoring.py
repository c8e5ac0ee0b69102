"""The queue in front of the model: requests that wait while a forward pass runs go together into the next one.

No timer holds a request back: an idle ranker scores a single request at once, a busy one forms batches by itself. The
forward pass runs in a thread, because Ray Serve's own work shares the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final, Protocol, runtime_checkable

import numpy as np

from services.ranking import telemetry
from shared.domain.ranking import RankingRequest, RankingResult
from shared.kernel.errors import ErrorReason, ServiceError

SMOOTHING: Final = 0.2
"""Weight of the newest batch in the running cost of a candidate."""


class Scorer(Protocol):
    """A loaded ranker, e.g. `shared.model.ranker.RankerModel`. Blocking; the same answer alone and in company."""

    def score(self, requests: Sequence[RankingRequest]) -> Sequence[RankingResult]:
        """One result a request, candidates in the request's order."""


@runtime_checkable
class Watching(Protocol):
    """A scorer that watches what it is asked."""

    def begin(self) -> None:
        """It is warm: what comes from now on is real."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """What may wait, and what goes into one forward pass."""

    waiting_requests: int
    batch_candidates: int


@dataclass(frozen=True, slots=True)
class Scored:
    """A result and where its time went, milliseconds."""

    result: RankingResult
    waited_ms: float
    forward_ms: float


@dataclass(frozen=True, slots=True)
class _Waiting:
    request: RankingRequest
    arrived: float
    deadline: float
    answer: asyncio.Future[Scored]


class ScoringQueue:
    """Scores requests in arrival order. `run` must run beside it.

    Args:
        executor: forward passes run in it.
        limits: what may wait and what goes together.
        now: seconds on a scale that only grows.
    """

    def __init__(self, executor: Executor, limits: QueueLimits, now: Callable[[], float] = time.monotonic) -> None:
        self._executor = executor
        self._limits = limits
        self.now = now
        self._waiting: deque[_Waiting] = deque()
        self._waiting_candidates = 0
        self._arrived = asyncio.Event()
        self._seconds_per_candidate = 0.0
        self.scorer: Scorer | None = None
        """Whoever loads bundles swaps it; a batch keeps the one that it began with."""

    async def score(self, request: RankingRequest, arrived: float) -> Scored:
        """Wait for the turn and score.

        Args:
            request: what to score.
            arrived: when it came in, on the scale of `now`; its budget runs from there.

        Raises:
            ServiceError: NO_BUNDLE, OVERLOADED, or DEADLINE_EXCEEDED before the forward pass began.
        """
        deadline = arrived + request.budget_ms / 1000
        self._admit(request, deadline)
        waiting = _Waiting(request, arrived, deadline, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._waiting_candidates += len(request.candidates)
        self._arrived.set()
        return await waiting.answer

    async def run(self) -> None:
        """Score batch after batch, for ever."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while batch := self._next_batch():
                await self._score(batch)

    def _admit(self, request: RankingRequest, deadline: float) -> None:
        if self.scorer is None:
            message = "no bundle has been published yet, or none could be loaded; train and publish one (winnow train)"
            raise ServiceError(ErrorReason.NO_BUNDLE, message)
        if len(self._waiting) >= self._limits.waiting_requests:
            limit = str(self._limits.waiting_requests)
            message = f"{limit} requests already wait for the ranker; try again later or rank fewer candidates"
            raise ServiceError(ErrorReason.OVERLOADED, message, metadata={"limit": limit})
        if self.now() + self._waiting_candidates * self._seconds_per_candidate >= deadline:
            raise _too_late(request)

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        candidates = 0
        while self._waiting:
            size = len(self._waiting[0].request.candidates)
            if batch and candidates + size > self._limits.batch_candidates:
                break
            waiting = self._waiting.popleft()
            self._waiting_candidates -= size
            if waiting.answer.done():  # its caller went away
                continue
            if self.now() >= waiting.deadline:
                waiting.answer.set_exception(_too_late(waiting.request))
                continue
            batch.append(waiting)
            candidates += size
        return batch

    async def _score(self, batch: list[_Waiting]) -> None:
        assert self.scorer is not None, "a scorer is replaced, never taken away"  # noqa: S101 - for the type checker
        requests = [waiting.request for waiting in batch]
        began = self.now()
        work = asyncio.get_running_loop().run_in_executor(self._executor, self.scorer.score, requests)
        (results,) = await asyncio.gather(work, return_exceptions=True)
        if isinstance(results, BaseException):  # each waiting call tells it, and the queue goes on
            for waiting in batch:
                _fail(waiting, results)
            return
        forward = self.now() - began
        self._learn(requests, forward)
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.answer.done():
                scored = Scored(finite(result), (began - waiting.arrived) * 1000, forward * 1000)
                waiting.answer.set_result(scored)

    def _learn(self, requests: list[RankingRequest], seconds: float) -> None:
        candidates = sum(len(request.candidates) for request in requests)
        telemetry.BATCH_REQUESTS.observe(len(requests))
        telemetry.BATCH_CANDIDATES.observe(candidates)
        telemetry.FORWARD_SECONDS.observe(seconds)
        newest = seconds / max(1, candidates)
        known = self._seconds_per_candidate
        self._seconds_per_candidate = newest if known == 0 else known + SMOOTHING * (newest - known)


def finite(result: RankingResult) -> RankingResult:
    """The result with what is not finite sunk to probability 0, and counted: a broken score must win no slot."""
    broken = ~np.isfinite(result.probabilities)
    count = int(broken.sum())
    if count == 0:
        return result
    telemetry.NOT_FINITE.inc(count)
    return replace(result, probabilities=np.where(broken, np.float32(0), result.probabilities))


def _too_late(request: RankingRequest) -> ServiceError:
    budget = str(request.budget_ms)
    message = f"the ranker cannot answer within {budget} ms now; allow more time or rank fewer candidates"
    return ServiceError(ErrorReason.DEADLINE_EXCEEDED, message, metadata={"budgetMs": budget})


def _fail(waiting: _Waiting, error: BaseException) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)
