"""Every service in this process behind one gRPC server, the ranker's replica without Ray among them.

The server runs in a thread of its own, so that tests can call it as any client would, with bytes that they choose.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.rpc import status_pb2
from winnow.v1.ranking_service_pb2 import RankResponse

from services.candidate_generation.app import open_candidate_generation
from services.candidate_generation.settings import CandidateGenerationSettings
from services.feature.app import open_feature
from services.feature.settings import FeatureSettings
from services.feedback.app import open_feedback
from services.feedback.settings import FeedbackSettings
from services.ranking.ingress import RANK
from services.ranking.ray_plan import ReplicaConfig
from services.ranking.replica import Replica, open_replica
from services.ranking.settings import RankingSettings
from services.recommendation.app import open_recommendation
from services.recommendation.settings import RecommendationSettings
from shared.domain.events import Event, EventType
from shared.domain.ranking import RankingRequest, RankingResult
from shared.kernel.clock import system_clock
from shared.kernel.config import load
from shared.kernel.errors import STATUS_DETAILS_KEY, ServiceError, from_status
from shared.kernel.process import ProcessSettings
from shared.kernel.server import GrpcServer, ServerOptions
from shared.model.registry import Registry
from shared.wire.ranking import ranking_request_to_proto, ranking_result_from_proto
from tests.integration.candidate_generation.trained_bundle import Effort, seal_bundle, small_world, trained
from tests.integration.ranking.real_bundle import publish_ranker
from tests.unit.ranking.fakes import FakeContext

TOKEN = "a-token-between-tests"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}
PATIENCE_MS = 60_000
"""For every answer and source: the machine's speed must not decide what is lost."""
CREATED_MS = 1_700_000_000_000
WORLD = small_world()

T = TypeVar("T")


@dataclass(frozen=True)
class ReplicaRanking:
    """Meets the port `Ranking` with a replica in this process, through its ingress and over protobuf's bytes."""

    replica: Replica

    async def rank(self, request: RankingRequest) -> RankingResult:
        """Probabilities for each candidate."""
        context = FakeContext(AUTHORIZED)
        raw = ranking_request_to_proto(request).SerializeToString()
        # A task of its own, so that the replica's request is not taken for the front's.
        answer = await asyncio.create_task(self.replica.answer(RANK, raw, context))
        if STATUS_DETAILS_KEY in context.trailing:
            raise told_in(context)
        assert isinstance(answer, RankResponse)
        return ranking_result_from_proto(answer)


def told_in(context: FakeContext) -> ServiceError:
    """The error that an ingress set on a context."""
    return from_status(status_pb2.Status.FromString(context.trailing[STATUS_DETAILS_KEY]))


@dataclass(frozen=True)
class Whole:
    """The running product.

    Attributes:
        address: of the gRPC server.
        channel: to it.
        replica: of the ranker.
        run: runs a coroutine in the server's thread.
    """

    address: str
    channel: grpc.Channel
    replica: Replica
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What a coroutine gives that runs in the server's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()


@contextmanager
def whole_product(folder: Path) -> Iterator[Whole]:
    """The product with a small catalogue, two known users and bundles, until the block ends."""
    _publish(folder)
    with _thread() as loop:
        opened = asyncio.run_coroutine_threadsafe(_enter(_serving(folder)), loop).result()
        (address, replica), close = opened
        try:
            with grpc.insecure_channel(address) as channel:
                yield Whole(address, channel, replica, loop)
        finally:
            asyncio.run_coroutine_threadsafe(close(), loop).result()


async def _enter(block: Any) -> tuple[Any, Callable[[], Coroutine[Any, Any, None]]]:
    """Enter an asynchronous block that another coroutine will leave."""
    entered = await block.__aenter__()

    async def close() -> None:
        await block.__aexit__(None, None, None)

    return entered, close


@contextmanager
def _thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _publish(folder: Path) -> None:
    bundle = seal_bundle(folder / "sealed", WORLD, trained(WORLD, Effort(steps=5)), CREATED_MS)
    Registry(str(folder / "registry")).publish(bundle)
    item_ids = tuple(item.item_id for item in WORLD.items)
    publish_ranker(folder / "ranker-registry", folder / "ranker", item_ids, CREATED_MS)


@asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[tuple[str, Replica]]:
    async with open_feedback(load(FeedbackSettings, data_dir=folder), system_clock) as feedback:
        await feedback.intake.upsert_items(list(WORLD.items))
        await feedback.intake.record_events(
            [_click(f"{user}-{n}", user, WORLD.items[7 * n].item_id) for user in ("ann", "bob") for n in range(5)]
        )
        async with (
            open_feature(load(FeatureSettings, data_dir=folder), system_clock, feedback.feedback) as feature,
            open_candidate_generation(
                load(CandidateGenerationSettings, data_dir=folder, source_timeout_ms=PATIENCE_MS),
                system_clock,
                feature.features,
            ) as candidates,
            open_replica(_replica(folder), 0) as replica,
            open_recommendation(
                load(RecommendationSettings, data_dir=folder, budget_ms=PATIENCE_MS, target_ms=0, late_ms=0),
                system_clock,
                feedback.feedback,
                feature.features,
                candidates.candidates,
                ReplicaRanking(replica),
            ) as front,
        ):
            hosted = [each.hosted for each in (feedback, feature, candidates, front)]
            for each in hosted:
                await each.readiness.wait_ready()
            async with GrpcServer("127.0.0.1:0", hosted, ServerOptions(drain_grace_ms=0)) as server:
                yield server.address, replica


def _replica(folder: Path) -> ReplicaConfig:
    settings = load(RankingSettings, data_dir=folder, registry_url=str(folder / "ranker-registry"), metrics_port=0)
    return ReplicaConfig(settings, ProcessSettings(), TOKEN, ())


def _click(event_id: str, user_id: str, item_id: str) -> Event:
    return Event(event_id, user_id, item_id, EventType.CLICK, system_clock() - 60_000)
