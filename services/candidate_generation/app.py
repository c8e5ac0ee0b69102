"""The composition root of candidate generation: what it consists of, and what runs beside the requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import grpc
import torch
from threadpoolctl import threadpool_limits
from winnow.v1.candidate_generation_service_pb2_grpc import add_CandidateGenerationServiceServicer_to_server

from services.candidate_generation.bundle_watch import EngineKeeper, load_parts, report
from services.candidate_generation.catalogue import Catalogue
from services.candidate_generation.catalogue_watch import CatalogueWatch
from services.candidate_generation.engine import EngineParts, Threads
from services.candidate_generation.meanings import MeaningVectors, QueryEncoder
from services.candidate_generation.query import Source
from services.candidate_generation.recall_watch import RecallWatch
from services.candidate_generation.retrieval import CandidateRetrieval, Quotas, Serving
from services.candidate_generation.servicer import CandidateGenerationServicer
from services.candidate_generation.settings import CandidateGenerationSettings
from services.candidate_generation.sources.content import ContentSource
from services.candidate_generation.sources.fresh import FreshSource
from services.candidate_generation.sources.interests import InterestsSource
from services.candidate_generation.sources.neighbours import NeighboursSource
from services.candidate_generation.sources.popular import PopularSource
from services.candidate_generation.sources.retriever import RetrieverSource
from services.candidate_generation.sources.search import SearchSource
from services.candidate_generation.sources.similar import SimilarSource
from services.candidate_generation.sources.trending import TrendingSource
from services.candidate_generation.sources.underexposed import UnderexposedSource
from services.candidate_generation.top_lists import Polling, TopLists
from shared.domain.services import CandidateGeneration, Features
from shared.kernel.background import Supervised
from shared.kernel.clock import Clock
from shared.kernel.readiness import Readiness
from shared.kernel.server import Hosted
from shared.model.bundle import Bundle
from shared.model.bundle_watcher import BundleSource, BundleStatus, BundleWatcher
from shared.model.content import FrozenEncoder
from shared.model.registry import Registry

SERVICE_NAME = "winnow.v1.CandidateGenerationService"
_DAY_MS = 86_400_000
_PATIENCE_SHARE = 0.6  # of a source's time, for the vector of a query: the rest is for the words


@dataclass(frozen=True, slots=True)
class CandidateGenerationApp:
    """Candidate generation, running.

    Attributes:
        hosted: for a server.
        candidates: for other services in the same process.
        bundle_status: what bundle is served, and which one was refused why.
    """

    hosted: Hosted
    candidates: CandidateGeneration
    bundle_status: Callable[[], BundleStatus]


@asynccontextmanager
async def open_candidate_generation(
    settings: CandidateGenerationSettings, clock: Clock, features: Features, text: FrozenEncoder | None = None
) -> AsyncIterator[CandidateGenerationApp]:
    """Run candidate generation beside a feature service. Ready once the catalogue has been read.

    Args:
        settings: of the service.
        clock: Unix milliseconds.
        features: where the catalogue is.
        text: encodes queries as the feature service encodes items; None: search compares words.
    """
    readiness = Readiness()
    meanings = MeaningVectors(text.encoder_id, text.size) if text else None
    catalogue = Catalogue(settings.fresh_pool_items, meanings)
    watch = CatalogueWatch(features, catalogue, clock, readiness)
    lists = TopLists(features, watch.catalogue, clock, _polling(settings))
    serving = Serving()
    quotas = Quotas(settings.quotas, settings.source_timeout_ms)
    # BLAS, too, would start a thread for every core at each small product.
    with threadpool_limits(1), _thread("search") as search, _thread("encode") as encode, _thread("query") as asking:
        queries = QueryEncoder(text, asking) if text else None
        retrieval = CandidateRetrieval(sources_of(settings, lists, queries), watch, serving, quotas)
        recall = RecallWatch(encode, settings.recall_check_seconds)
        keeper = EngineKeeper(serving, watch, Threads(search, encode), recall)
        bundles = _bundle_watcher(settings, clock, keeper, text.encoder_id if text else "")
        async with Supervised() as tasks:
            tasks.start("catalogue", watch.run)
            tasks.start("top lists", lists.run)
            tasks.start("vectors", keeper.run)
            tasks.start("bundles", bundles.run)
            if queries:
                tasks.start("text encoder", queries.warm_up)
            yield CandidateGenerationApp(_hosted(retrieval, clock, readiness), retrieval, lambda: bundles.status)


def _thread(name: str) -> ThreadPoolExecutor:
    """One thread, in which torch does not start others: requests are many and small."""
    return ThreadPoolExecutor(1, name, initializer=torch.set_num_threads, initargs=(1,))


def sources_of(
    settings: CandidateGenerationSettings, lists: TopLists, queries: QueryEncoder | None = None
) -> tuple[Source, ...]:
    """In the order in which equal ranks are merged: what knows the user best comes first."""
    return (
        SearchSource(queries, settings.source_timeout_ms * _PATIENCE_SHARE),
        SimilarSource(),
        RetrieverSource(),
        NeighboursSource(),
        ContentSource(),
        InterestsSource(settings.interests_until_events),
        TrendingSource(lists),
        PopularSource(lists),
        FreshSource(int(settings.fresh_window_days * _DAY_MS)),
        UnderexposedSource(lists, settings.exposure_budget_events),
    )


def _polling(settings: CandidateGenerationSettings) -> Polling:
    return Polling(settings.top_lists_poll_seconds, settings.category_lists_poll_seconds)


def _bundle_watcher(
    settings: CandidateGenerationSettings, clock: Clock, keeper: EngineKeeper, text_encoder_id: str
) -> BundleWatcher[EngineParts]:
    source = BundleSource(
        registry=Registry(settings.registry_url or str(settings.data_dir / "registry")),
        cache_dir=settings.data_dir / "candidate_generation" / "bundles",
        poll_seconds=settings.bundle_poll_seconds,
    )
    load: Callable[[Bundle], EngineParts] = partial(
        load_parts, exact=settings.exact_search, text_encoder_id=text_encoder_id
    )
    return BundleWatcher(source, load, keeper.install, clock, report)


def _hosted(candidates: CandidateGeneration, clock: Clock, readiness: Readiness) -> Hosted:
    def register(server: grpc.aio.Server) -> None:
        add_CandidateGenerationServiceServicer_to_server(CandidateGenerationServicer(candidates, clock), server)

    return Hosted((SERVICE_NAME,), register, readiness)
