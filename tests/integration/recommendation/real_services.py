"""The front with the real log, feature store and candidate generation in one process, and no bundle.

Candidate generation gives popular, trending, fresh and interesting items; the ranker is the fake.
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
from shared.model.content_opening import open_content, open_text_encoder
from shared.model.content_settings import ContentSettings
from tests.fakes_services import FakeRanking
from tests.unit.recommendation.front import ask, film


@dataclass(frozen=True)
class Running:
    """What a test talks to."""

    feedback: FeedbackApp
    recommender: Recommender
    ranking: FakeRanking


@asynccontextmanager
async def running(folder: Path, films: int = 40, *, encoding: bool = False) -> AsyncIterator[Running]:
    """Every service but the ranker, on a catalogue of so many films that somebody else has seen.

    Args:
        folder: for all state.
        films: how many.
        encoding: texts of items and queries go through the multilingual encoder.
    """
    ranking = FakeRanking()
    async with open_feedback(load(FeedbackSettings, data_dir=folder), system_clock) as feedback:
        if films:
            await feedback.intake.upsert_items([replace(film(n), created_ms=system_clock()) for n in range(films)])
            await feedback.intake.record_events([like(f"seen-{n}", "someone", f"film-{n:03}") for n in range(films)])
        async with _front(folder, feedback, ranking, encoding) as recommender:
            yield Running(feedback, recommender, ranking)


@asynccontextmanager
async def _front(
    folder: Path, feedback: FeedbackApp, ranking: FakeRanking, encoding: bool
) -> AsyncIterator[Recommender]:
    """The services over the log, each opened when the one before it has caught up."""
    reading = load(ContentSettings, data_dir=folder, text_encoder="multilingual", image_encoder="none")
    vectors, text = (open_content(reading), open_text_encoder(reading)) if encoding else (None, None)
    own = load(FeatureSettings, data_dir=folder)
    async with open_feature(own, system_clock, feedback.feedback, vectors) as feature:
        await feature.hosted.readiness.wait_ready()
        candidate_settings = load(CandidateGenerationSettings, data_dir=folder)
        async with open_candidate_generation(candidate_settings, system_clock, feature.features, text) as candidates:
            await candidates.hosted.readiness.wait_ready()
            settings = load(RecommendationSettings, data_dir=folder, reserve_slates=0)
            ports = (feedback.feedback, feature.features, candidates.candidates, ranking)
            async with open_recommendation(settings, system_clock, *ports) as front:
                yield front.recommender


def now(user_id: str = "ann", **asked: object) -> Query:
    """A query of this moment."""
    query = ask(user_id, **asked)
    return replace(query, context=replace(query.context, time_ms=system_clock()))


def like(event_id: str, user_id: str, item_id: str) -> Event:
    """A like, a second ago."""
    return Event(event_id, user_id, item_id, EventType.LIKE, system_clock() - 1_000)


async def logged(services: Running, recommendation_id: str) -> ServedSlate:
    """Follow the log until the slate is in it."""
    async for batch in services.feedback.feedback.tail(Watermark(), follow=True):
        for record in batch.records:
            if isinstance(record.fact, ServedSlate) and record.fact.recommendation_id == recommendation_id:
                return record.fact
    raise AssertionError("the log ended")
