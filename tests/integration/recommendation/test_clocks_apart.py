"""The front and the log run on machines whose clocks differ: slates get into the log, or their loss is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.feedback.app import open_feedback
from services.feedback.settings import FeedbackSettings
from services.recommendation.app import open_recommendation
from services.recommendation.settings import RecommendationSettings
from shared.clients.feedback import GrpcFeedback
from shared.kernel.client import open_channel
from shared.kernel.config import load
from shared.kernel.server import GrpcServer, ServerOptions
from tests.unit.recommendation.front import NOW_MS, World, ask

SKEW_MS = 600_000


async def recorded_and_lost(folder: Path, ahead_ms: int) -> tuple[int, int, bool]:
    """What becomes of one slate of a front whose clock is ahead: recorded, lost, and whether it can be read back."""
    world = World(now_ms=NOW_MS + ahead_ms)
    log, front = load(FeedbackSettings, data_dir=folder, address="127.0.0.1:0"), load(RecommendationSettings)
    async with (
        open_feedback(log, lambda: NOW_MS) as feedback,
        GrpcServer(log.address, [feedback.hosted], ServerOptions(drain_grace_ms=0)) as server,
        open_channel(server.address) as channel,
    ):
        client = GrpcFeedback(channel)
        async with open_recommendation(
            front, world.clock, client, world.features, world.candidates, world.ranking
        ) as app:
            answer = await app.recommender.recommend(ask())
        recorder = app.recommender.recorder  # its last slates are recorded when it is closed
        return recorder.recorded, recorder.lost, await client.slate(answer.recommendation_id) is not None


@pytest.mark.parametrize("ahead_ms", [-86_400_000, -SKEW_MS, -5_000, 0, 5_000, SKEW_MS])
async def test_clocks_slightly_apart_cost_no_slate(tmp_path: Path, ahead_ms: int) -> None:
    assert await recorded_and_lost(tmp_path, ahead_ms) == (1, 0, True)


async def test_a_clock_too_far_ahead_loses_the_slate_and_counts_it(tmp_path: Path) -> None:
    assert await recorded_and_lost(tmp_path, SKEW_MS + 1) == (0, 1, False)
