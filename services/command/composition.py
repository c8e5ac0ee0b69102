"""The services of one process: each opened with the others' own objects where they are here, else with gRPC clients.

The order is that of the data: the log, what is learned from it, candidates, the ranker, the front.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.clients.candidate_generation import GrpcCandidateGeneration
from shared.clients.features import GrpcFeatures
from shared.clients.feedback import GrpcFeedback
from shared.clients.ranking import ServeRanking
from shared.domain.services import CandidateGeneration, Features, Feedback, Ranking
from shared.kernel.client import ChannelOptions, open_channel
from shared.kernel.clock import Clock
from shared.kernel.config import load
from shared.kernel.hosting import ListeningSettings, connect
from shared.kernel.process import ProcessSettings
from shared.kernel.readiness import Readiness
from shared.kernel.server import Hosted

if TYPE_CHECKING:
    import grpc

    from services.feedback.app import FeedbackApp

NAMES = ("feedback", "feature", "candidate_generation", "ranking", "recommendation")
"""Every service, in the order in which they are opened."""
TO_RANKER = ChannelOptions(keepalive_ms=0)
"""Without keepalive: Ray Serve's gRPC server cuts off callers that ping it."""


@dataclass(slots=True)
class Services:
    """What is open in this process.

    Attributes:
        hosted: settings and servicers of those that a gRPC server of this process hosts (the ranker listens by itself).
        ranker: readiness of the ranker, when it runs here.
        feedback_app: the log with its entry points for bulk imports, when it is here.
    """

    hosted: list[tuple[ListeningSettings, Hosted]] = field(default_factory=list)
    ranker: Readiness | None = None
    feedback_app: FeedbackApp | None = None
    feedback: Feedback | None = None
    features: Features | None = None
    candidates: CandidateGeneration | None = None
    ranking: Ranking | None = None


@asynccontextmanager
async def open_services(names: Collection[str], clock: Clock) -> AsyncIterator[Services]:
    """Open the named services (of `NAMES`) in this process.

    Raises:
        ConfigError: a setting cannot be used, or a part is not installed.
    """
    openers = {
        "feedback": _open_feedback,
        "feature": _open_feature,
        "candidate_generation": _open_candidate_generation,
        "ranking": _open_ranking,
        "recommendation": _open_recommendation,
    }
    services = Services()
    async with AsyncExitStack() as stack:
        for name in NAMES:
            if name in names:
                await openers[name](services, stack, clock)
        yield services


async def _open_feedback(services: Services, stack: AsyncExitStack, clock: Clock) -> None:
    from services.feedback.app import open_feedback
    from services.feedback.settings import FeedbackSettings

    settings = load(FeedbackSettings)
    app = await stack.enter_async_context(open_feedback(settings, clock))
    services.feedback_app, services.feedback = app, app.feedback
    services.hosted.append((settings, app.hosted))


async def _open_feature(services: Services, stack: AsyncExitStack, clock: Clock) -> None:
    from services.feature.app import open_feature
    from services.feature.settings import FeatureSettings
    from shared.model.content_opening import open_content

    settings = load(FeatureSettings)
    feedback = services.feedback or GrpcFeedback(await _channel(stack, settings.feedback_address))
    app = await stack.enter_async_context(open_feature(settings, clock, feedback, open_content()))
    services.features = app.features
    services.hosted.append((settings, app.hosted))


async def _open_candidate_generation(services: Services, stack: AsyncExitStack, clock: Clock) -> None:
    from services.candidate_generation.app import open_candidate_generation
    from services.candidate_generation.settings import CandidateGenerationSettings
    from shared.model.content_opening import open_text_encoder

    settings = load(CandidateGenerationSettings)
    features = services.features or GrpcFeatures(await _channel(stack, settings.feature_address))
    app = await stack.enter_async_context(open_candidate_generation(settings, clock, features, open_text_encoder()))
    services.candidates = app.candidates
    services.hosted.append((settings, app.hosted))


async def _open_ranking(services: Services, stack: AsyncExitStack, clock: Clock) -> None:
    from services.ranking.app import open_ranking
    from services.ranking.settings import RankingSettings

    running = await stack.enter_async_context(open_ranking(load(RankingSettings), load(ProcessSettings)))
    services.ranker = running.readiness
    channel = await stack.enter_async_context(open_channel(running.target, TO_RANKER))  # this machine's own replicas
    services.ranking = ServeRanking(channel, running.token)


async def _open_recommendation(services: Services, stack: AsyncExitStack, clock: Clock) -> None:
    from services.recommendation.app import open_recommendation
    from services.recommendation.settings import RecommendationSettings

    settings = load(RecommendationSettings)
    token = settings.ranking_token.get_secret_value() if settings.ranking_token else ""
    app = await stack.enter_async_context(
        open_recommendation(
            settings,
            clock,
            services.feedback or GrpcFeedback(await _channel(stack, settings.feedback_address)),
            services.features or GrpcFeatures(await _channel(stack, settings.feature_address)),
            services.candidates
            or GrpcCandidateGeneration(await _channel(stack, settings.candidate_generation_address)),
            services.ranking or ServeRanking(await _channel(stack, settings.ranking_address, TO_RANKER), token),
        )
    )
    services.hosted.append((settings, app.hosted))


async def _channel(stack: AsyncExitStack, address: str, options: ChannelOptions | None = None) -> grpc.aio.Channel:
    return await stack.enter_async_context(connect(address, options))
