"""The quality factor: fewer candidates while answers are late, and all of them again afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from pathlib import Path

import numpy as np
import pytest
import yaml

from services.recommendation.budget import Budget
from services.recommendation.quality import LEAST, QualityFactor
from shared.domain.ranking import RankingResult
from shared.domain.retrieval import RetrievalRequest, RetrievalResult
from shared.domain.user_state import UserState
from tests.unit.recommendation.front import World, ask, losses, opened, replaced

ALL = 300


def answered(quality: QualityFactor, count: int, latency_ms: Callable[[int, float], float]) -> list[float]:
    """Latencies of so many answers that rank as many as the factor says, each with its own luck."""
    luck = np.random.default_rng(5).exponential(1.0, count)
    latencies = []
    for each in luck.tolist():
        latencies.append(latency_ms(round(quality.share * ALL), each))
        quality.learn(latencies[-1])
    return latencies


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.95])
def test_it_settles_where_the_chosen_percentile_meets_the_target(percentile: float) -> None:
    quality = QualityFactor(50.0, percentile)

    latencies = answered(quality, 20_000, lambda ranked, luck: 5 + ranked * 0.4 * (0.7 + 0.3 * luck))

    settled = latencies[5_000:]
    assert np.mean(np.array(settled) <= 50.0) == pytest.approx(percentile, abs=0.01)
    assert 0.1 < quality.share < 1


@dataclass
class Queue:
    """One server, an open loop: requests come by chance at a rate, whether or not those before were answered.

    Attributes:
        latencies: from coming to answer, in ms, waiting for the server included.
        shares: the factor when each request came.
    """

    quality: QualityFactor
    now_ms: float = 0.0
    free_ms: float = 0.0
    latencies: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    _pending: list[tuple[float, float]] = field(default_factory=list)

    def serve(self, count: int, every_ms: float) -> None:
        """So many more requests (Poisson), each of which takes 2 ms and a tenth of one for every candidate."""
        for gap_ms in np.random.default_rng(3).exponential(every_ms, count).tolist():
            self.now_ms += gap_ms
            while self._pending and self._pending[0][0] <= self.now_ms:
                self.quality.learn(heappop(self._pending)[1])
            self.shares.append(self.quality.share)
            self.free_ms = max(self.free_ms, self.now_ms) + 2 + 0.1 * round(self.quality.share * ALL)
            self.latencies.append(self.free_ms - self.now_ms)
            heappush(self._pending, (self.free_ms, self.latencies[-1]))


@pytest.mark.parametrize("percentile", [0.9, 0.95])
@pytest.mark.parametrize("every_ms", [15, 20, 28])
def test_under_more_requests_than_can_be_ranked_in_full_it_settles_at_the_target_too(
    percentile: float, every_ms: float
) -> None:
    queue = Queue(QualityFactor(60.0, percentile))

    queue.serve(30_000, every_ms)

    settled = np.array(queue.latencies[5_000:])
    assert np.mean(settled <= 60.0) == pytest.approx(percentile, abs=0.01)
    assert 0.2 < np.mean(queue.shares[5_000:]) < 0.9


def test_when_the_rush_is_over_everything_is_ranked_again() -> None:
    queue = Queue(QualityFactor(60.0, 0.95))

    queue.serve(5_000, 15)
    queue.serve(5_000, 1_000)

    assert min(queue.shares[:5_000]) < 0.3
    assert set(queue.shares[-1_000:]) == {1.0}


def test_while_the_target_is_met_everything_is_ranked_and_a_few_late_answers_change_nothing() -> None:
    quality = QualityFactor(50.0, 0.95)

    for latency_ms in [20.0] * 100 + [500.0] * 4:
        quality.learn(latency_ms)
        assert quality.share == 1


def test_it_grows_back_when_the_load_is_over() -> None:
    quality = QualityFactor(50.0, 0.95)

    answered(quality, 500, lambda _ranked, _luck: 80.0)
    shrunk = quality.share
    answered(quality, 1_000, lambda _ranked, _luck: 20.0)

    assert shrunk == LEAST
    assert quality.share == 1


def test_without_a_target_nothing_is_ever_late() -> None:
    quality = QualityFactor(0.0, 0.95)

    answered(quality, 100, lambda _ranked, _luck: 1e6)

    assert quality.share == 1


async def test_under_load_fewer_candidates_are_ranked_which_is_said_and_the_page_stays_full() -> None:
    world = World()
    world.candidates.sources = {"retriever": tuple(film.item_id for film in world.films[5:])}
    now_s = [0.0]

    def slowly(result: RankingResult) -> RankingResult:
        now_s[0] += 0.002 * len(result.probabilities)  # a candidate takes two milliseconds
        return result

    world.ranking.answer_with = slowly
    async with opened(world, target_ms=60, target_percentile=0.5) as app:
        answers = [
            await app.recommender.recommend(replaced(ask(), budget=Budget.of(1_000, lambda: now_s[0])))
            for _ in range(100)
        ]

    ranked = [len(request.candidates) for request in world.ranking.requests]
    assert ranked[0] == 55
    assert losses(answers[0]) == set()
    assert np.median(ranked[50:]) == pytest.approx(30, abs=2), "60 ms"
    assert losses(answers[-1]) == {("rank", "shrunk")}
    assert all(len(answer.entries) == 10 for answer in answers)


async def test_the_caller_gets_a_full_page_however_late_answers_are() -> None:
    world = World()
    now_s = [0.0]

    def hardly(result: RankingResult) -> RankingResult:
        now_s[0] += 1.0
        return result

    world.ranking.answer_with = hardly
    async with opened(world, target_ms=1) as app:
        for _ in range(60):
            answer = await app.recommender.recommend(
                replaced(ask(page_size=20), budget=Budget.of(60_000, lambda: now_s[0]))
            )

    assert len(answer.entries) == 20
    assert len(world.ranking.requests[-1].candidates) == 20


async def test_waiting_for_a_state_says_nothing_of_how_many_to_rank() -> None:
    world, now_s = World(), [0.0]
    read = world.features.user_state

    async def slowly(*arguments: object, **options: object) -> UserState:
        now_s[0] += 0.2
        return await read(*arguments, **options)  # type: ignore[arg-type]

    world.features.user_state = slowly  # type: ignore[method-assign]
    async with opened(world, target_ms=60) as app:
        for _ in range(40):
            await app.recommender.recommend(replaced(ask(), budget=Budget.of(1_000, lambda: now_s[0])))

    assert [len(request.candidates) for request in world.ranking.requests] == [55] * 40


async def test_making_up_for_what_a_rule_blocks_says_nothing_of_how_many_to_rank(tmp_path: Path) -> None:
    world, now_s = World(), [0.0]
    retrieve = world.candidates.retrieve

    async def slowly(request: RetrievalRequest, *, budget_ms: float) -> RetrievalResult:
        now_s[0] += 0.04  # one round is in time, and two are not
        return await retrieve(request, budget_ms=budget_ms)

    world.candidates.retrieve = slowly  # type: ignore[method-assign]
    rule = {"name": "not-now", "do": "block", "categories": ["drama", "crime"]}
    surface = {"weights": {"click": 1}, "quotas": {"popular": 8}, "rules": [rule]}
    (tmp_path / "default.yaml").write_text(yaml.safe_dump(surface))
    async with opened(world, target_ms=60, surfaces_dir=tmp_path) as app:
        for _ in range(40):
            query = replaced(ask("", page_size=20), budget=Budget.of(10_000, lambda: now_s[0]))
            answer = await app.recommender.recommend(query)

    timings = {each.stage: each.duration_ms for each in answer.provenance.stage_timings}
    assert (timings["retrieve"], timings["refill"]) == (pytest.approx(80), pytest.approx(40))
    assert losses(answer) == set()
    assert app.recommender.quality.share == 1


async def test_the_callers_own_candidates_are_all_ranked_however_late_answers_are() -> None:
    world, now_s = World(), [0.0]

    def slowly(result: RankingResult) -> RankingResult:
        now_s[0] += 0.1
        return result

    world.ranking.answer_with = slowly
    own = tuple(film.item_id for film in world.films[5:45])
    async with opened(world, target_ms=60) as app:
        for _ in range(60):
            budget = Budget.of(1_000, lambda: now_s[0])
            await app.recommender.recommend(replaced(ask(), budget=budget, candidate_item_ids=own))

    assert [len(request.candidates) for request in world.ranking.requests] == [40] * 60
