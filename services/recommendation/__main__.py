"""Runs the front alone: `python -m services.recommendation`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from services.recommendation.app import RecommendationApp, open_recommendation
from services.recommendation.settings import RecommendationSettings
from shared.clients.candidate_generation import GrpcCandidateGeneration
from shared.clients.features import GrpcFeatures
from shared.clients.feedback import GrpcFeedback
from shared.clients.ranking import ServeRanking
from shared.kernel.client import ChannelOptions
from shared.kernel.clock import Clock
from shared.kernel.hosting import connect, run_service


@asynccontextmanager
async def open_alone(settings: RecommendationSettings, clock: Clock) -> AsyncIterator[RecommendationApp]:
    """The front with services elsewhere. Nothing is repeated: a call that fails is replaced by the next rung."""
    token = settings.ranking_token.get_secret_value() if settings.ranking_token else ""
    options = ChannelOptions(timeout_ms=settings.budget_ms)
    async with (
        connect(settings.feedback_address, options) as feedback,
        connect(settings.feature_address, options) as features,
        connect(settings.candidate_generation_address, options) as candidates,
        connect(settings.ranking_address, replace(options, keepalive_ms=0)) as ranking,
        open_recommendation(
            settings,
            clock,
            GrpcFeedback(feedback),
            GrpcFeatures(features),
            GrpcCandidateGeneration(candidates),
            ServeRanking(ranking, token),
        ) as app,
    ):
        yield app


if __name__ == "__main__":
    run_service("recommendation", RecommendationSettings, open_alone)
