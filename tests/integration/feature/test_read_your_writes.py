"""Whoever writes and then reads with the watermark sees the write, whatever else is going on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import numpy as np
from winnow.v1.feedback_service_pb2 import RecordEventsRequest
from winnow.v1.feedback_service_pb2_grpc import FeedbackServiceStub

from services.feature.app import open_feature
from shared.clients.features import GrpcFeatures
from shared.clients.feedback import GrpcFeedback
from shared.domain.events import Event
from shared.domain.services import Features
from shared.domain.watermark import Watermark
from shared.kernel.client import open_channel
from shared.kernel.server import GrpcServer
from shared.wire.events import event_to_proto
from tests.integration.feature.embedded import Embedded, embedded
from tests.integration.feature.store_places import StorePlace
from tests.unit.feature.world import ENOUGH_MS, NOW_MS, catalogue_of, clock, event, settings

PAIRS = 10_000 if os.environ.get("WINNOW_SOAK") else 2_500  # four tests: 10,000 together
WRITERS = 20
USERS = 50


Record = Callable[[Event], Awaitable[Watermark]]
"""Sends one event; gives the watermark that the answer held."""


def in_process(services: Embedded) -> Record:
    async def record(event: Event) -> Watermark:
        return (await services.feedback.intake.record_events([event])).watermark

    return record


def by_grpc(channel: grpc.aio.Channel) -> Record:
    stub = FeedbackServiceStub(channel)

    async def record(event: Event) -> Watermark:
        answer = await stub.RecordEvents(RecordEventsRequest(events=[event_to_proto(event)]), timeout=ENOUGH_MS / 1000)
        assert [status.code for status in answer.statuses] == [0]
        return Watermark.parse(answer.watermark)

    return record


async def violations(record: Record, features: Features, writer: int, turns: int) -> int:
    """Reads that did not show the write before them."""
    random = np.random.default_rng(writer)
    missed = 0
    for turn in range(turns):
        user_id, written = f"user-{random.integers(USERS)}", f"pair-{writer}-{turn}"
        at_ms = NOW_MS - int(random.integers(1_000))
        position = await record(event(user_id, "i0", at_ms=at_ms, event_id=written))
        state = await features.user_state(user_id, position, history_limit=1_000, budget_ms=ENOUGH_MS)
        missed += state.stale or written not in state.history.event_ids
    return missed


async def noise(services: Embedded, stop: asyncio.Event) -> None:
    """Others write all the time, events in batches and items, as fast as what they wrote becomes visible.

    Were they faster, the log would grow ahead of the projection for as long as this lasts, and every read would wait
    longer than the one before.
    """
    while not stop.is_set():
        await services.feedback.intake.record_events([event(f"other-{n}", f"i{n}") for n in range(50)])
        written = (await services.feedback.intake.upsert_items(catalogue_of(10))).watermark
        await services.feature.features.user_state("other-0", written, history_limit=1, budget_ms=ENOUGH_MS)


async def pairs(services: Embedded, record: Record, features: Features, count: int = PAIRS) -> list[int]:
    stop = asyncio.Event()
    background = asyncio.create_task(noise(services, stop))
    turns = count // WRITERS
    missed = await asyncio.gather(*(violations(record, features, writer, turns) for writer in range(WRITERS)))
    stop.set()
    await background
    return missed


async def test_no_read_misses_the_write_before_it_in_one_process(place: StorePlace) -> None:
    async with embedded(place.folder, cached_events=1_000, **place.settings) as services:
        assert await pairs(services, in_process(services), services.feature.features) == [0] * WRITERS


async def test_no_read_misses_the_write_before_it_over_grpc(place: StorePlace) -> None:
    async with (
        embedded(place.folder, **place.settings) as services,
        GrpcServer("127.0.0.1:0", [services.feature.hosted, services.feedback.hosted]) as server,
        open_channel(server.address) as channel,
    ):
        assert await pairs(services, by_grpc(channel), GrpcFeatures(channel)) == [0] * WRITERS


async def test_a_service_that_follows_the_log_over_grpc_shows_every_write(tmp_path: Path) -> None:
    async with (
        embedded(tmp_path / "one") as services,
        GrpcServer("127.0.0.1:0", [services.feedback.hosted]) as server,
        open_channel(server.address) as channel,
        open_feature(settings(tmp_path / "other"), clock, GrpcFeedback(channel)) as remote,
    ):
        await remote.hosted.readiness.wait_ready()

        assert await violations(in_process(services), remote.features, 0, PAIRS // WRITERS) == 0
        assert await remote.dump() == await services.feature.dump()
