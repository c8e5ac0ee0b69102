"""The queue in front of the model."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

from services.ranking.scoring import QueueLimits, Scored, ScoringQueue
from shared.domain.ranking import RankingRequest
from shared.kernel.background import Supervised
from shared.kernel.errors import ErrorReason, ServiceError
from tests.unit.ranking.fakes import FakeScorer, request_of


@dataclass
class FakeTime:
    """Seconds that pass when a test says so."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> FakeTime:
    return FakeTime()


@pytest.fixture
async def queue(now: FakeTime) -> AsyncIterator[ScoringQueue]:
    with ThreadPoolExecutor(1) as executor:
        queue = ScoringQueue(executor, QueueLimits(waiting_requests=4, batch_candidates=10), now)
        async with Supervised() as tasks:
            tasks.start("scoring", queue.run)
            yield queue


async def score(queue: ScoringQueue, request: RankingRequest) -> Scored:
    return await queue.score(request, queue.now())


async def waiting_behind(
    queue: ScoringQueue, scorer: FakeScorer, *requests: RankingRequest
) -> list[asyncio.Task[Scored]]:
    """One request in the forward pass, which is held back, and the given ones waiting behind it, in this order."""
    queue.scorer = scorer
    scorer.released.clear()
    first = asyncio.create_task(score(queue, request_of("first")))
    await asyncio.to_thread(scorer.entered.wait)
    tasks = [first]
    for request in requests:
        tasks.append(asyncio.create_task(score(queue, request)))
        await asyncio.sleep(0)
    return tasks


async def test_a_request_is_scored_in_the_order_of_its_candidates(queue: ScoringQueue) -> None:
    queue.scorer = FakeScorer()

    scored = await score(queue, request_of("a", "ccc", "bb"))

    assert scored.result.probabilities.ravel().tolist() == pytest.approx([0.1, 0.3, 0.2])
    assert scored.result.model_version == "one"


async def test_without_a_bundle_nothing_waits(queue: ScoringQueue) -> None:
    with pytest.raises(ServiceError) as raised:
        await score(queue, request_of("a"))

    assert raised.value.reason is ErrorReason.NO_BUNDLE
    assert raised.value.retry_after_ms is not None


async def test_what_waits_during_a_forward_pass_goes_together_into_the_next(queue: ScoringQueue) -> None:
    scorer = FakeScorer()
    tasks = await waiting_behind(queue, scorer, request_of("a"), request_of("b", "c"))

    scorer.released.set()
    await asyncio.gather(*tasks)

    assert scorer.batches == [[("first",)], [("a",), ("b", "c")]]


async def test_a_batch_takes_no_more_candidates_than_the_limit_but_a_larger_request_runs_alone(
    queue: ScoringQueue,
) -> None:
    scorer = FakeScorer()
    large = tuple(f"large-{number}" for number in range(25))
    six, five = tuple("abcdef"), tuple("ghijk")
    tasks = await waiting_behind(queue, scorer, request_of(*six), request_of(*large), request_of(*five))

    scorer.released.set()
    await asyncio.gather(*tasks)

    assert scorer.batches == [[("first",)], [six], [large], [five]]


async def test_a_full_queue_refuses_at_once(queue: ScoringQueue) -> None:
    scorer = FakeScorer()
    tasks = await waiting_behind(queue, scorer, *(request_of(name) for name in "abcd"))

    with pytest.raises(ServiceError) as raised:
        await score(queue, request_of("too-much"))

    assert raised.value.reason is ErrorReason.OVERLOADED
    assert raised.value.metadata == {"limit": "4"}
    scorer.released.set()
    assert len(await asyncio.gather(*tasks)) == 5


async def test_a_budget_that_is_spent_on_arrival_is_refused_before_it_waits(queue: ScoringQueue) -> None:
    queue.scorer = FakeScorer()

    with pytest.raises(ServiceError) as raised:
        await queue.score(request_of("a", budget_ms=10), arrived=queue.now() - 1)

    assert raised.value.reason is ErrorReason.DEADLINE_EXCEEDED
    assert raised.value.metadata == {"budgetMs": "10"}


async def test_a_budget_that_ends_while_waiting_costs_no_forward_pass(queue: ScoringQueue, now: FakeTime) -> None:
    scorer = FakeScorer()
    _, late, other = await waiting_behind(queue, scorer, request_of("late", budget_ms=20), request_of("other"))

    now.seconds += 0.02
    scorer.released.set()

    with pytest.raises(ServiceError) as raised:
        await late
    assert raised.value.reason is ErrorReason.DEADLINE_EXCEEDED
    await other
    assert scorer.batches == [[("first",)], [("other",)]]


async def test_a_queue_known_to_be_too_long_for_the_budget_refuses_at_once(queue: ScoringQueue, now: FakeTime) -> None:
    scorer = FakeScorer()
    slow = await waiting_behind(queue, scorer)
    now.seconds += 0.05  # what the queue learns one candidate to take
    scorer.released.set()
    await asyncio.gather(*slow)
    scorer.entered.clear()
    behind = await waiting_behind(queue, scorer, request_of("a", "b", "c"))

    with pytest.raises(ServiceError) as raised:
        await score(queue, request_of("hasty", budget_ms=140))

    assert raised.value.reason is ErrorReason.DEADLINE_EXCEEDED
    behind.append(asyncio.create_task(score(queue, request_of("patient", budget_ms=160))))
    await asyncio.sleep(0)
    scorer.released.set()
    assert len(await asyncio.gather(*behind)) == 3


async def test_a_caller_who_went_away_costs_no_forward_pass(queue: ScoringQueue) -> None:
    scorer = FakeScorer()
    first, gone = await waiting_behind(queue, scorer, request_of("gone"))

    gone.cancel()
    await asyncio.wait([gone])
    scorer.released.set()
    await first
    await score(queue, request_of("next"))

    assert scorer.batches == [[("first",)], [("next",)]]


async def test_a_scorer_that_fails_fails_its_batch_and_the_queue_goes_on(queue: ScoringQueue) -> None:
    queue.scorer = FakeScorer(error=RuntimeError("broken weights"))
    with pytest.raises(RuntimeError, match="broken weights"):
        await score(queue, request_of("a"))

    queue.scorer = FakeScorer(version="two")

    assert (await score(queue, request_of("a"))).result.model_version == "two"


async def test_the_answer_says_where_the_time_went(queue: ScoringQueue, now: FakeTime) -> None:
    scorer = FakeScorer()
    first, waiting = await waiting_behind(queue, scorer, request_of("a"))

    now.seconds += 0.25
    scorer.released.set()

    assert [(await first).waited_ms, (await first).forward_ms] == pytest.approx([0, 250])
    assert (await waiting).waited_ms == pytest.approx(250)


async def test_a_swap_while_a_batch_runs_changes_the_next_batch_only(queue: ScoringQueue) -> None:
    old, new = FakeScorer(version="old"), FakeScorer(version="new")
    first, waiting = await waiting_behind(queue, old, request_of("a"))

    queue.scorer = new
    old.released.set()

    assert [task.result.model_version for task in await asyncio.gather(first, waiting)] == ["old", "new"]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
async def test_scores_that_are_not_finite_sink(queue: ScoringQueue, bad: float) -> None:
    queue.scorer = FakeScorer(bad=bad)

    scored = await score(queue, request_of("a", "b"))

    assert np.array_equal(scored.result.probabilities, np.zeros((2, 1), np.float32))
