"""Every rung of the degradation ladder: a dependency fails, the slate comes anyway, and the loss is in the list."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.recommendation.recommender import Recommender
from services.recommendation.refreshing import refreshed
from shared.domain.conditions import ItemFilter
from shared.domain.provenance import Provenance
from shared.domain.ranking import RankingResult
from shared.domain.retrieval import RetrievalResult, SourceHits
from shared.kernel.errors import ErrorReason, ServiceError
from tests.fakes_services import Outage, down
from tests.unit.recommendation.front import World, ask, events, item_ids, losses, opened

SHORT_MS = 600.0


async def test_without_the_ranker_the_slate_comes_in_retrievals_order() -> None:
    world = World()
    world.ranking.error = down("ranking")

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    assert losses(answer) == {("rank", "unavailable")}
    assert item_ids(answer) == [f"film-{number:03}" for number in range(5, 15)], "as the retriever ranked them"
    assert answer.provenance.model_version == ""
    assert "used instead: retrieval's order" in answer.provenance.degraded[0].detail


async def test_a_ranker_without_a_bundle_is_told_as_such() -> None:
    world = World()
    world.ranking.error = ServiceError(ErrorReason.NO_BUNDLE, "no bundle yet", metadata={"registry": "r"})

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    assert losses(answer) == {("rank", "no-bundle")}
    assert len(answer.entries) == 10


async def test_a_ranker_that_asks_for_retrievals_order_is_no_loss() -> None:
    world = World()
    world.ranking.keep_retrieval_order = True

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    assert losses(answer) == set()
    assert item_ids(answer) == [f"film-{number:03}" for number in range(5, 15)]
    assert answer.provenance.model_version == "test-bundle"


async def test_a_frozen_ranker_costs_its_share_of_the_budget_and_no_more() -> None:
    world = World()
    world.ranking.frozen = True

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask(budget_ms=SHORT_MS))

    assert ("rank", "deadline") in losses(answer)
    assert len(answer.entries) == 10


async def test_an_open_circuit_is_not_asked_again() -> None:
    world = World()
    world.ranking.error = down("ranking")

    async with opened(world) as app:
        answers = [await app.recommender.recommend(ask()) for _ in range(5)]

    assert world.ranking.calls == 3
    assert [losses(answer) for answer in answers[3:]] == [{("rank", "circuit-open")}] * 2
    assert all(len(answer.entries) == 10 for answer in answers)


async def test_a_hurried_caller_does_not_open_the_circuit() -> None:
    world = World()

    async with opened(world) as app:
        world.ranking.frozen = True
        for _ in range(4):
            await app.recommender.recommend(ask(budget_ms=15))
        world.ranking.frozen = False
        answer = await app.recommender.recommend(ask())

    assert losses(answer) == set()


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
async def test_a_candidate_without_a_finite_score_sinks_and_is_counted(score: float) -> None:
    world = World()
    world.ranking.answer_with = lambda result: _poisoned(result, rows=[0, 7], score=score)

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask(page_size=200))

    ranked = world.ranking.requests[-1].candidates.item_ids
    assert losses(answer) == {("rank", "non-finite-scores")}
    assert answer.provenance.degraded[0].detail.startswith("2 candidates")
    assert set(item_ids(answer)[-2:]) == {ranked[0], ranked[7]}
    assert np.isfinite([entry.score for entry in answer.entries]).all()


async def test_scores_that_are_all_not_finite_give_retrievals_order() -> None:
    world = World()
    world.ranking.answer_with = lambda result: _poisoned(result, rows=slice(None))

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    assert losses(answer) == {("rank", "non-finite-scores")}
    assert item_ids(answer) == [f"film-{number:03}" for number in range(5, 15)]


@pytest.mark.parametrize(
    "change",
    [
        lambda result: replace(result, probabilities=result.probabilities[:-1]),
        lambda result: replace(result, actions=result.actions[:-1]),
        lambda result: replace(result, ratings=np.ones(3, np.float32)),
    ],
    ids=["a row is missing", "a column too many", "ratings of others"],
)
async def test_an_answer_of_the_ranker_that_does_not_fit_is_not_used(change: object) -> None:
    world = World()
    world.ranking.answer_with = change

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    assert losses(answer) == {("rank", "invalid-answer")}
    assert item_ids(answer) == [f"film-{number:03}" for number in range(5, 15)]


async def test_a_ranker_that_knows_no_weighted_action_gives_retrievals_order() -> None:
    world = World()
    world.ranking.actions = (1,)

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    assert losses(answer) == {("rank", "no-weights")}
    assert item_ids(answer) == [f"film-{number:03}" for number in range(5, 15)]


async def test_without_candidate_generation_popular_items_are_ranked() -> None:
    world = World()
    world.candidates.error = down("candidate-generation")

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    assert losses(answer) == {("retrieve", "unavailable")}
    assert len(answer.entries) == 10
    sources = {source.source for entry in answer.entries for source in entry.sources}
    assert sources <= {"popular", "trending", "interests"}
    assert answer.provenance.model_version == "test-bundle", "the ranker ordered them"


async def test_without_candidate_generation_neighbours_of_the_latest_item_are_remembered() -> None:
    world = World()

    async with opened(world) as app:
        await app.recommender.recommend(ask())
        world.candidates.error = down("candidate-generation")
        answer = await app.recommender.recommend(ask(page_size=200))

    neighbours = [entry for entry in answer.entries if "neighbours" in {source.source for source in entry.sources}]
    assert len(neighbours) == 20
    assert losses(answer) == {("retrieve", "unavailable")}


@pytest.mark.parametrize(
    ("ids", "rows"),
    [(("film-010", "film-010"), [0, 1]), (("film-010", "film-011"), [0, 2]), (("film-010",), [-1])],
    ids=["an item twice", "a row beyond the items", "a negative row"],
)
async def test_an_answer_of_candidate_generation_that_does_not_fit_is_not_used(
    ids: tuple[str, ...], rows: list[int]
) -> None:
    world = World()
    hits = SourceHits("retriever", np.array(rows, np.int32), np.ones(len(rows), np.float32))
    world.candidates.result = RetrievalResult(ids, (hits,), Provenance())

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    assert losses(answer) == {("retrieve", "invalid-answer")}
    assert len(answer.entries) == 10


async def test_without_the_feature_store_the_user_is_unknown_and_gets_what_retrieval_gives() -> None:
    world = World()
    world.features.error = down("feature")

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    assert losses(answer) == {("hydrate", "unavailable"), ("hydrate-items", "unavailable")}
    assert len(answer.entries) == 10
    assert len(world.ranking.requests[-1].history) == 0
    assert len(world.ranking.requests[-1].candidates.popularity) == 0, "an empty column says: not known"


async def test_without_the_feature_store_a_session_keeps_its_events() -> None:
    world = World()
    world.features.error = down("feature")
    query = ask("", session_id="s", session_events=tuple(events(["film-007"])))

    async with opened(world) as app:
        answer = await app.recommender.recommend(query)

    assert losses(answer) == {("hydrate-items", "unavailable")}
    assert world.ranking.requests[-1].history.item_ids == ("film-007",)
    assert "film-007" not in item_ids(answer)


async def test_without_the_feature_store_items_are_those_that_were_known_last() -> None:
    world = World()
    wanted = ItemFilter(include_categories=frozenset({"drama"}))

    async with opened(world) as app:
        await app.recommender.recommend(ask(page_size=200))
        world.features.error = down("feature")
        answer = await app.recommender.recommend(ask("bob", page_size=200, filter=wanted))

    assert {world.item(item_id).categories for item_id in item_ids(answer)} == {("drama",)}


async def test_without_the_feature_store_unread_candidates_of_the_caller_fulfil_no_filter() -> None:
    world = World()
    world.features.error = down("feature")
    wanted = ItemFilter(include_categories=frozenset({"drama"}))

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask(candidate_item_ids=("film-020", "film-021"), filter=wanted))

    assert answer.entries == ()


async def test_a_frozen_feature_store_leaves_time_for_the_rest() -> None:
    world = World()
    world.features.frozen = True

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask(budget_ms=SHORT_MS))

    assert {("hydrate", "deadline")} <= losses(answer)
    assert len(answer.entries) == 10


async def test_an_item_too_few_from_the_feature_store_is_no_answer() -> None:
    world = World()
    world.features.wrong_count = True

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    assert losses(answer) == {("hydrate-items", "invalid-answer")}
    assert len(answer.entries) == 10


async def test_when_all_are_down_the_last_known_popular_items_are_served() -> None:
    world = World()

    async with opened(world) as app:
        await _remember_popular(app.recommender)
        _break(world.features, world.candidates, world.ranking, world.feedback)
        answer = await app.recommender.recommend(ask())

    assert item_ids(answer) == [f"film-{number:03}" for number in range(10)]
    assert losses(answer) == {
        ("hydrate", "unavailable"),
        ("retrieve", "unavailable"),
        ("popular", "unavailable"),
        ("hydrate-items", "circuit-open"),
        ("rank", "unavailable"),
    }


async def test_when_all_are_down_from_the_start_the_slate_is_empty_and_every_loss_is_listed() -> None:
    world = World()
    _break(world.features, world.candidates, world.ranking, world.feedback)

    async with opened(world, close_seconds=0) as app:
        answer = await app.recommender.recommend(ask())

    assert answer.entries == ()
    assert {("hydrate", "unavailable"), ("retrieve", "unavailable"), ("popular", "unavailable")} <= losses(answer)


async def test_with_no_time_left_the_answer_is_what_is_remembered() -> None:
    world = World()

    async with opened(world) as app:
        await _remember_popular(app.recommender)
        answer = await app.recommender.recommend(ask(budget_ms=0))

    assert item_ids(answer) == [f"film-{number:03}" for number in range(10)]
    assert {reason for _, reason in losses(answer)} == {"deadline"}


async def test_a_service_that_comes_back_is_used_again() -> None:
    world = World()
    world.candidates.error = down("candidate-generation")

    async with opened(world) as app:
        degraded = await app.recommender.recommend(ask())
        world.candidates.error = None
        healthy = await app.recommender.recommend(ask())

    assert losses(degraded) == {("retrieve", "unavailable")}
    assert losses(healthy) == set()


async def test_fewer_candidates_are_ranked_when_the_ranker_is_too_slow_for_the_budget() -> None:
    world = World()

    async with opened(world) as app:
        app.recommender.replays.ranking._pace_ms = 1_000.0  # as measured over earlier answers
        answer = await app.recommender.recommend(ask(budget_ms=20_000))

    ranked = len(world.ranking.requests[-1].candidates)
    assert 10 <= ranked <= 18
    assert losses(answer) == {("rank", "shrunk")}


def _break(*services: Outage) -> None:
    for service in services:
        service.error = down(type(service).__name__)


def _poisoned(result: RankingResult, rows: object, score: float = np.nan) -> RankingResult:
    probabilities = result.probabilities.copy()
    probabilities[rows, 0] = score
    return replace(result, probabilities=probabilities)


async def _remember_popular(recommender: Recommender) -> None:
    assert await refreshed(recommender.lookups.ports.features, recommender.lookups.memory)
