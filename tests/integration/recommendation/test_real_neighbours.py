"""The front with the real log, feature store and candidate generation in one process: events change the next slate.

There is no bundle: candidate generation gives popular, trending and fresh items, and the ranker is the fake.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from services.candidate_generation.app import open_candidate_generation
from services.candidate_generation.settings import CandidateGenerationSettings
from services.feature.app import open_feature
from services.feature.settings import FeatureSettings
from services.feedback.app import FeedbackApp, open_feedback
from services.feedback.settings import FeedbackSettings
from services.recommendation.app import open_recommendation
from services.recommendation.queries import Query
from services.recommendation.recommender import Recommender
from services.recommendation.settings import RecommendationSettings
from shared.domain.events import Event, EventType
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.kernel.clock import system_clock
from shared.kernel.config import load
from tests.fakes_services import FakeRanking
from tests.unit.recommendation.front import ask, film, item_ids, losses, pages_after


@dataclass(frozen=True)
class Running:
    """What a test talks to."""

    feedback: FeedbackApp
    recommender: Recommender


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    """Every service but the ranker, on a catalogue of films that somebody else has seen."""
    async with open_feedback(load(FeedbackSettings, data_dir=folder), system_clock) as feedback:
        await feedback.intake.upsert_items([replace(film(number), created_ms=system_clock()) for number in range(40)])
        await feedback.intake.record_events([_event(f"seen-{n}", "someone", f"film-{n:03}") for n in range(40)])
        async with _front(folder, feedback) as recommender:
            yield Running(feedback, recommender)


@asynccontextmanager
async def _front(folder: Path, feedback: FeedbackApp) -> AsyncIterator[Recommender]:
    """The services over the log, each opened when the one before it has caught up."""
    async with open_feature(load(FeatureSettings, data_dir=folder), system_clock, feedback.feedback) as feature:
        await feature.hosted.readiness.wait_ready()
        candidate_settings = load(CandidateGenerationSettings, data_dir=folder)
        async with open_candidate_generation(candidate_settings, system_clock, feature.features) as candidates:
            await candidates.hosted.readiness.wait_ready()
            settings = load(RecommendationSettings, data_dir=folder, reserve_slates=0)
            ports = (feedback.feedback, feature.features, candidates.candidates, FakeRanking())
            async with open_recommendation(settings, system_clock, *ports) as front:
                yield front.recommender


async def test_an_event_changes_the_slate_that_is_asked_for_with_its_watermark(tmp_path: Path) -> None:
    async with running(tmp_path) as services:
        before = await services.recommender.recommend(_now())
        recorded = await services.feedback.intake.record_events([_event("like", "ann", before.entries[0].item_id)])
        after = await services.recommender.recommend(_now(min_watermark=recorded.watermark))

    assert before.entries[0].item_id not in item_ids(after)
    assert losses(after) - {("retriever", "no-bundle"), ("neighbours", "no-bundle")} == set()
    assert len(after.entries) == 10


async def test_pages_are_read_back_from_the_real_log(tmp_path: Path) -> None:
    async with running(tmp_path) as services:
        first = await services.recommender.recommend(_now())
        slate = await _logged(services, first.recommendation_id)
        pages = await pages_after(services.recommender, _now(), first)

    shown = [item_id for page in pages for item_id in item_ids(page)]
    assert len(shown) == len(set(shown)) > 20
    assert set(shown) == set(slate.candidates.item_ids)


async def test_a_slate_of_the_real_log_replays_to_itself(tmp_path: Path) -> None:
    async with running(tmp_path) as services:
        answer = await services.recommender.recommend(_now())
        await _logged(services, answer.recommendation_id)
        report = await services.recommender.replay(_now(), answer.recommendation_id)

    assert report.differences == ()
    assert [entry.item_id for entry in report.replayed] == item_ids(answer)


def _now(**asked: object) -> Query:
    query = ask("ann", **asked)
    return replace(query, context=replace(query.context, time_ms=system_clock()))


def _event(event_id: str, user_id: str, item_id: str) -> Event:
    return Event(event_id, user_id, item_id, EventType.LIKE, system_clock() - 1_000)


async def _logged(services: Running, recommendation_id: str) -> ServedSlate:
    """Follow the log until the slate is in it."""
    async for batch in services.feedback.feedback.tail(Watermark(), follow=True):
        for record in batch.records:
            if isinstance(record.fact, ServedSlate) and record.fact.recommendation_id == recommendation_id:
                return record.fact
    raise AssertionError("the log ended")
