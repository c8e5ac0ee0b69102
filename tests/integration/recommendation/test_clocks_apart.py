"""The front and the log run on machines whose clocks differ: slates get into the log, or their loss is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.recommendation.app import open_recommendation
from services.recommendation.settings import RecommendationSettings
from shared.kernel.config import load
from tests.contract.event_log_adapters import NOW_MS
from tests.integration.feedback.service import serving
from tests.unit.recommendation.front import World, ask

SKEW_MS = 600_000


async def recorded_and_lost(folder: Path, ahead_ms: int) -> tuple[int, int, bool]:
    """What becomes of one slate of a front whose clock is ahead: recorded, lost, and whether it can be read back."""
    world, settings = World(now_ms=NOW_MS + ahead_ms), load(RecommendationSettings, close_seconds=60.0)
    async with serving(folder) as service:
        await service.channel.channel_ready()  # a busy machine is no reason to lose a slate here
        async with open_recommendation(
            settings, world.clock, service.client, world.features, world.candidates, world.ranking
        ) as app:
            answer = await app.recommender.recommend(ask())
        recorder = app.recommender.recorder  # its last slates are recorded when it is closed
        return recorder.recorded, recorder.lost, await service.client.slate(answer.recommendation_id) is not None


@pytest.mark.parametrize("ahead_ms", [-86_400_000, -SKEW_MS, -5_000, 0, 5_000, SKEW_MS])
async def test_clocks_slightly_apart_cost_no_slate(tmp_path: Path, ahead_ms: int) -> None:
    assert await recorded_and_lost(tmp_path, ahead_ms) == (1, 0, True)


async def test_a_clock_too_far_ahead_loses_the_slate_and_counts_it(tmp_path: Path) -> None:
    assert await recorded_and_lost(tmp_path, SKEW_MS + 1) == (0, 1, False)
