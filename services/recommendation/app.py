"""The composition root of the front: what it consists of, and what runs beside the requests."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from winnow.v1.monitoring_service_pb2_grpc import add_MonitoringServiceServicer_to_server
from winnow.v1.recommendation_service_pb2_grpc import add_RecommendationServiceServicer_to_server

from services.recommendation.admission import Admission
from services.recommendation.answering import PageWriter
from services.recommendation.crowding import Crowd
from services.recommendation.dependencies import Dependencies
from services.recommendation.filters import id_filters, item_filters
from services.recommendation.hydration import ItemHydration, ViewerHydration
from services.recommendation.identity import RecommendationIds
from services.recommendation.influence import Influences
from services.recommendation.known_attributes import KnownAttributes
from services.recommendation.lookups import Lookups
from services.recommendation.memory import Memory
from services.recommendation.next_page import LateChecks, NextPages, Slates
from services.recommendation.paging import PageTokens
from services.recommendation.pipeline import Pipeline, Stages
from services.recommendation.quality import QualityFactor
from services.recommendation.ranking import RankingStage
from services.recommendation.recommender import Recommender
from services.recommendation.recording import SlateRecorder
from services.recommendation.refreshing import refresh
from services.recommendation.replay import Replays
from services.recommendation.reserve import Reserve
from services.recommendation.servicer import MonitoringServicer, RecommendationServicer
from services.recommendation.settings import RecommendationSettings
from services.recommendation.sources import MemorySource, PopularSource, RetrievalSource
from services.recommendation.status import StatusPage
from services.recommendation.surfaces import PACKAGED, SurfaceError, Surfaces, follow, load_surfaces
from services.recommendation.traffic import Tally
from shared.domain.services import CandidateGeneration, Features, Feedback, Ranking
from shared.kernel.background import Supervised
from shared.kernel.clock import Clock
from shared.kernel.config import ConfigError
from shared.kernel.readiness import Readiness
from shared.kernel.server import Hosted

SERVICE_NAMES = ("winnow.v1.RecommendationService", "winnow.v1.MonitoringService")


@dataclass(frozen=True, slots=True)
class RecommendationApp:
    """The front, running.

    Attributes:
        hosted: for a server.
        recommender: for callers in the same process.
    """

    hosted: Hosted
    recommender: Recommender


@asynccontextmanager
async def open_recommendation(
    settings: RecommendationSettings,
    clock: Clock,
    feedback: Feedback,
    features: Features,
    candidates: CandidateGeneration,
    ranking: Ranking,
) -> AsyncIterator[RecommendationApp]:
    """Run the front. Ready at once, also while the services behind it are not: it answers, degraded.

    Raises:
        ConfigError: a surface's file is wrong.
    """
    surfaces, memory = _surfaces(settings), Memory(settings.memory_items)
    ports = Dependencies.of(feedback, features, candidates, ranking)
    recorder = SlateRecorder(feedback, settings.waiting_slates)
    recommender = _recommender(_Parts(settings, clock, ports, surfaces, memory, recorder))
    readiness = Readiness()
    async with Supervised() as tasks:
        ports.start_probing(tasks)
        tasks.start("slates", recorder.run)
        tasks.start("popular items", lambda: refresh(ports.features, memory, settings.popular_refresh_seconds))
        tasks.start("surfaces", lambda: follow(surfaces, _folder(settings), settings.surfaces_poll_seconds))
        readiness.set(True)
        yield RecommendationApp(_hosted(recommender, settings, clock, readiness), recommender)
    await recorder.close(settings.close_seconds)


@dataclass(frozen=True, slots=True)
class _Parts:
    settings: RecommendationSettings
    clock: Clock
    ports: Dependencies
    surfaces: Surfaces
    memory: Memory
    recorder: SlateRecorder


def _recommender(parts: _Parts) -> Recommender:
    settings, clock, ports, surfaces = parts.settings, parts.clock, parts.ports, parts.surfaces
    stages = _stages(parts)
    pipeline = Pipeline(stages)
    tokens = PageTokens(_secret(settings), clock, settings.page_life_seconds * 1000)
    reserve = Reserve(clock, settings.reserve_slates, settings.page_life_seconds * 1000)
    checks = LateChecks(stages.viewers, stages.items, stages.id_filters, stages.item_filters)
    return Recommender(
        clock=clock,
        ids=RecommendationIds(clock, np.random.default_rng()),
        admission=Admission(surfaces, KnownAttributes(ports.features)),
        crowd=Crowd(settings.late_ms, time.monotonic),
        pipeline=pipeline,
        quality=stages.quality,
        pages=NextPages(tokens, Slates(reserve, parts.recorder, ports.feedback), checks),
        tokens=tokens,
        writer=PageWriter(ports.features, Influences(ports.ranking), parts.memory),
        reserve=reserve,
        recorder=parts.recorder,
        lookups=Lookups(ports, parts.memory, pipeline),
        replays=Replays(ports, parts.recorder, stages.ranking, surfaces),
        page=StatusPage(ports, parts.recorder, surfaces, clock, stages.quality, Tally(clock())),
    )


def _stages(parts: _Parts) -> Stages:
    ports, memory = parts.ports, parts.memory
    return Stages(
        viewers=ViewerHydration(ports.features),
        sources=(
            RetrievalSource(ports.candidates, memory),
            PopularSource(ports.features, memory),
            MemorySource(memory),
        ),
        id_filters=id_filters(),
        items=ItemHydration(ports.features, memory),
        item_filters=item_filters(),
        ranking=RankingStage(ports.ranking, ports.features),
        quality=QualityFactor(parts.settings.target_ms, parts.settings.target_percentile),
    )


def _surfaces(settings: RecommendationSettings) -> Surfaces:
    try:
        return load_surfaces(_folder(settings))
    except SurfaceError as error:
        raise ConfigError(f"{error}; correct the file, or set WINNOW_RECOMMENDATION_SURFACES_DIR") from error


def _folder(settings: RecommendationSettings) -> Path:
    return settings.surfaces_dir or PACKAGED


def _secret(settings: RecommendationSettings) -> bytes:
    """The secret of the page tokens: that of the settings, else one that lives as long as this process."""
    if settings.page_token_secret:
        return settings.page_token_secret.get_secret_value().encode()
    return secrets.token_bytes(32)


def _hosted(recommender: Recommender, settings: RecommendationSettings, clock: Clock, readiness: Readiness) -> Hosted:
    servicer = RecommendationServicer(recommender, clock, settings.budget_ms, settings.answer_margin_ms)

    def register(server: grpc.aio.Server) -> None:
        add_RecommendationServiceServicer_to_server(servicer, server)
        add_MonitoringServiceServicer_to_server(MonitoringServicer(recommender), server)

    return Hosted(SERVICE_NAMES, register, readiness)
