"""While the log is replayed: not ready, and how far, how fast and how long it still takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc
from winnow.v1 import feature_service_pb2 as pb
from winnow.v1 import feature_service_pb2_grpc as pb_grpc

from services.feature.app import SERVICE_NAME, open_feature
from shared.domain.event_log import LogBatch
from shared.domain.watermark import Watermark
from shared.kernel.client import open_channel
from shared.kernel.server import GrpcServer
from tests.fakes import MemoryLog
from tests.integration.feature.store_places import StorePlace
from tests.unit.feature.world import ENOUGH_MS, NOW_MS, clock, event, settings

TIMEOUT_S = ENOUGH_MS / 1000


@dataclass
class HaltingLog(MemoryLog):
    """Stops in the middle of the way until it is told to go on."""

    halt_after: int = 0
    halted: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def tail(self, after: Watermark, *, follow: bool, batch_size: int = 500) -> AsyncIterator[LogBatch]:
        """Batches as usual; before the one that goes beyond the halt it waits."""
        async for batch in super().tail(after, follow=follow, batch_size=batch_size):
            if batch.watermark.offset() > self.halt_after:
                self.halted.set()
                await self.released.wait()
            yield batch


def seconds() -> int:
    """A clock that goes on by a second each time that somebody looks."""
    return NOW_MS + 1_000 * next(_looks)


_looks = count()


async def test_a_replay_shows_how_far_it_is_and_is_not_ready_before_its_end(place: StorePlace) -> None:
    log = HaltingLog(clock, halt_after=40)
    await log.append([event("anna", f"i{number}") for number in range(60)])
    async with (
        open_feature(settings(place.folder, batch_records=10, **place.settings), seconds, log) as app,
        GrpcServer("127.0.0.1:0", [app.hosted]) as server,
        open_channel(server.address) as channel,
    ):
        await log.halted.wait()
        during = await pb_grpc.FeatureServiceStub(channel).GetStatus(pb.FeatureServiceGetStatusRequest())
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=SERVICE_NAME))
        log.released.set()
        await app.hosted.readiness.wait_ready()
        after = await pb_grpc.FeatureServiceStub(channel).GetStatus(pb.FeatureServiceGetStatusRequest())
        healthy = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=SERVICE_NAME))

    assert (during.replay.done_records, during.replay.total_records) == (40, 60)
    assert during.replay.records_per_second > 0
    assert during.replay.remaining_duration.ToMilliseconds() == round(20_000 / during.replay.records_per_second)
    assert not during.caught_up
    assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert after.caught_up
    assert not after.HasField("replay")
    assert healthy.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_log_that_does_not_answer_is_a_problem_in_the_status(tmp_path: Path) -> None:
    log = MemoryLog(clock, unreachable=ConnectionRefusedError("connection refused"))
    async with open_feature(settings(tmp_path), clock, log) as app:
        while not (status := await app.features.status()).problems:
            await asyncio.sleep(0)

    assert status.problems == ("the log cannot be used: connection refused",)
    assert status.replay is None
    assert not status.caught_up
