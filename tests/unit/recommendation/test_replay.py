"""A served slate comes out of its recorded inputs again, or the difference is told with its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.recommendation.app import RecommendationApp
from services.recommendation.queries import ReplayReport
from shared.domain.ranking import RankingResult
from shared.domain.slates import ServedSlate
from shared.kernel.errors import ServiceError
from shared.wire.slates import slate_from_proto, slate_to_proto
from tests.fakes_services import down
from tests.unit.recommendation.front import World, ask, opened


async def served(world: World, app: RecommendationApp, **asked: object) -> str:
    """Serve a slate and bring it through the log's own form; its id."""
    answer = await app.recommender.recommend(ask(**asked))
    await world.feedback.recorded.wait()
    world.feedback.slates = [_through_the_log(slate) for slate in world.feedback.slates]
    return answer.recommendation_id


async def test_a_slate_replays_to_itself() -> None:
    world = World()

    async with opened(world) as app:
        report = await app.recommender.replay(ask(""), await served(world, app))

    assert report.differences == ()
    assert report.identical
    assert [entry.item_id for entry in report.replayed] == [entry.item_id for entry in report.served]
    assert len(report.served) == 10


@pytest.mark.parametrize("page_size", [1, 10, 200])
async def test_pages_of_any_size_replay_to_themselves(page_size: int) -> None:
    world = World()

    async with opened(world) as app:
        report = await app.recommender.replay(ask(""), await served(world, app, page_size=page_size))

    assert report.identical


async def test_a_slate_on_its_way_to_the_log_replays_already() -> None:
    world = World()
    world.feedback.error = down("feedback")

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask(""))
        report = await app.recommender.replay(ask(""), answer.recommendation_id)

    assert not world.feedback.slates
    assert report.identical


async def test_the_ranker_is_asked_with_the_recorded_inputs_and_not_with_todays() -> None:
    world = World()

    async with opened(world) as app:
        recommendation_id = await served(world, app)
        world.features.users.clear()
        report = await app.recommender.replay(ask(""), recommendation_id)

    then, again = world.ranking.requests
    assert again.history.item_ids == then.history.item_ids
    assert again.candidates.item_ids == then.candidates.item_ids
    assert np.array_equal(again.candidates.popularity, then.candidates.popularity)
    assert report.identical


async def test_a_slate_in_retrievals_order_replays_without_the_ranker() -> None:
    world = World()
    world.ranking.error = down("ranking")

    async with opened(world) as app:
        recommendation_id = await served(world, app)
        report = await app.recommender.replay(ask(""), recommendation_id)

    assert report.identical
    assert world.ranking.calls == 1


async def test_a_slate_in_retrievals_order_by_the_rankers_wish_replays_to_itself() -> None:
    world = World()
    world.ranking.keep_retrieval_order = True

    async with opened(world) as app:
        report = await app.recommender.replay(ask(""), await served(world, app))

    assert report.identical


async def test_a_slate_with_a_broken_score_replays_to_itself() -> None:
    world = World()
    world.ranking.answer_with = _with_a_broken_score

    async with opened(world) as app:
        report = await app.recommender.replay(ask(""), await served(world, app, page_size=200))

    assert report.identical


async def test_without_the_ranker_the_recorded_probabilities_give_the_slate() -> None:
    world = World()

    async with opened(world) as app:
        recommendation_id = await served(world, app)
        world.ranking.error = down("ranking")
        report = await app.recommender.replay(ask(""), recommendation_id)

    assert report.identical
    assert [(lost.stage, lost.reason) for lost in report.provenance.degraded] == [("rank", "unavailable")]


async def test_another_bundle_is_told_as_the_reason_of_what_moved() -> None:
    world = World()

    async with opened(world) as app:
        recommendation_id = await served(world, app)
        world.ranking.model_version = "newer-bundle"
        world.ranking.logits = {"film-059": (9.0, 9.0, -9.0)}
        report = await app.recommender.replay(ask(""), recommendation_id)

    assert report.differences[0] == "bundle test-bundle ranked it then, bundle newer-bundle now"
    assert report.replayed[0].item_id == "film-059"
    assert any("film-059" in difference for difference in report.differences[1:])
    assert not report.identical


async def test_another_configuration_is_told_as_the_reason_of_what_moved(tmp_path: Path) -> None:
    world = World()
    (tmp_path / "default.yaml").write_text("weights: {click: 1, like: 5, hide: -20}\ncaps: {per_creator: 1}")

    async with opened(world) as app:
        recommendation_id = await served(world, app)
    async with opened(world, surfaces_dir=tmp_path) as app:
        report = await app.recommender.replay(ask(""), recommendation_id)

    assert _told(report, "the configuration was")


EVERYTHING = """
weights: {click: 1, like: 5, hide: -1}
diversity: {creator_decay: 0.8, mmr_strength: 0.5}
caps: {per_category: 3, per_attribute: {colour: 6}}
exploration: {slots: 3, method: METHOD, first_position: 1, every: 3, probability: 0.8, success_budget: 40}
rules:
- {name: ad, do: pin, items: [film-058], position: 4}
- {name: up, do: boost, categories: [war], factor: 1.5}
- {name: down, do: bury, attributes: [{name: year, is: greater, values: [1990]}], factor: 0.5}
"""


@pytest.mark.parametrize("method", ["epsilon", "thompson"])
async def test_a_slate_with_every_rule_and_chance_replays_to_itself(tmp_path: Path, method: str) -> None:
    world = World()
    (tmp_path / "default.yaml").write_text(EVERYTHING.replace("METHOD", method))

    async with opened(world, surfaces_dir=tmp_path) as app:
        ids = [await served(world, app, page_size=12) for _ in range(8)]
        world.now_ms += 3_600_000
        reports = [await app.recommender.replay(ask(""), each) for each in ids]

    assert [report.differences for report in reports] == [()] * 8
    assert len({tuple(entry.item_id for entry in report.served) for report in reports}) > 1, "chance had a part"
    assert all(report.served[4].item_id == "film-058" for report in reports)


async def test_a_probability_that_changed_is_told(tmp_path: Path) -> None:
    world = World()
    chance = "weights: {click: 1}\nexploration: {slots: 1, first_position: 0, probability: 0.5}"
    (tmp_path / "default.yaml").write_text(chance)

    async with opened(world, surfaces_dir=tmp_path) as app:
        recommendation_id = await served(world, app)
    (tmp_path / "default.yaml").write_text(chance.replace("0.5", "0.4"))
    async with opened(world, surfaces_dir=tmp_path) as app:
        report = await app.recommender.replay(ask(""), recommendation_id)

    assert _told(report, "position 0 had its entry with probability")
    assert _told(report, "the configuration was")


async def test_a_score_that_changed_is_told_with_both_numbers() -> None:
    world = World()

    async with opened(world) as app:
        recommendation_id = await served(world, app, page_size=1)
        (slate,) = world.feedback.slates
        best = slate.shown_item_ids[0]
        world.ranking.logits = {best: (20.0, 20.0, -20.0)}
        report = await app.recommender.replay(ask(""), recommendation_id)

    assert _told(report, f"the score of {best} was")


async def test_an_id_that_was_never_served_is_not_found() -> None:
    async with opened(World()) as app:
        error = await _refusal(app, "never-served")

    assert error.reason.name == "RECOMMENDATION_NOT_FOUND"
    assert error.metadata == {"recommendationId": "never-served"}


async def test_a_log_that_cannot_be_read_is_an_error_that_says_so() -> None:
    world = World()
    world.feedback.error = down("feedback")

    async with opened(world) as app:
        error = await _refusal(app, "any")

    assert error.reason.name == "DEPENDENCY_UNAVAILABLE"
    assert error.metadata == {"dependency": "feedback", "code": "unavailable"}


def _through_the_log(slate: ServedSlate) -> ServedSlate:
    return slate_from_proto(slate_to_proto(slate))


def _with_a_broken_score(result: RankingResult) -> RankingResult:
    probabilities = result.probabilities.copy()
    probabilities[3] = np.nan
    return replace(result, probabilities=probabilities)


def _told(report: ReplayReport, words: str) -> bool:
    return any(words in difference for difference in report.differences)


async def _refusal(app: RecommendationApp, recommendation_id: str) -> ServiceError:
    with pytest.raises(ServiceError) as raised:
        await app.recommender.replay(ask(""), recommendation_id)
    return raised.value
