"""The loop: people are served by a bundle, their answers train the next one, and that one serves them better.

The people, the log, the front, candidate generation and both models are real; only time is told. The first bundle was
trained on views that say nothing of anybody's taste.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.domain.events import Event, EventType
from tests.e2e.conftest import winnow
from tests.world import BEGIN_MS, DAY_MS, Days, Size, item, population, trained_models

WORLD = 3
SIZE = Size(items=240, people=120, page=20)
DAYS, AFTER = 6, 2
VIEWS = 5
SURFACE = (
    "weights: {view: 1, like: 5}\nexclude_latest_served: 40\n"
    "quotas: {retriever: 60, neighbours: 20, popular: 20, fresh: 20}\nranked_candidates: 100\n"
    "exploration: {slots: 2, method: epsilon, first_position: 1, every: 2, probability: 0.5, exposure_budget: 5}\n"
)


async def test_slates_and_their_answers_train_a_bundle_that_serves_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_TRAINER_INDEX_RECALL_K", "50")  # of 240 items
    await begin(tmp_path)
    first = trained(tmp_path)

    before = await live(tmp_path, 0, DAYS)
    second = trained(tmp_path, "--since", "bundle")
    after = await live(tmp_path, DAYS, AFTER)

    assert second["published"]
    gates = {gate["name"]: gate for gate in second["gates"]}
    on_slates = gates["orders_slates_as_well"]
    assert first["version"] in on_slates["detail"]
    assert on_slates["measured"] > on_slates["required"] + 0.02
    assert gates["as_good_as_before"]["passed"]
    used = second["metrics"]
    assert used["slates_read"] == DAYS * SIZE.people
    assert 0 < used["slates_positives"] < used["slates_impressions"]
    assert used["slates_ndcg"] > used["slates_as_served_ndcg"]
    assert np.mean(after.rewards) > 1.1 * np.mean(before.rewards[-AFTER:]), "people like more of what they are shown"


async def begin(folder: Path) -> None:
    """The catalogue, and people who have looked at anything."""
    rng = np.random.default_rng(WORLD)
    async with population(folder, SURFACE, WORLD, SIZE) as people:
        views = [
            Event(
                f"view-{person}-{time}",
                f"person-{person}",
                item(int(number)).item_id,
                EventType.VIEW,
                BEGIN_MS - (VIEWS - time) * DAY_MS + person,
            )
            for person in range(SIZE.people)
            for time, number in enumerate(rng.choice(SIZE.items, VIEWS, replace=False))
        ]
        await people.feedback.intake.record_events(views)


def trained(folder: Path, *options: str) -> dict[str, Any]:
    """What `winnow train` says of the bundle that it made from the log."""
    command = winnow(folder, "train", "--preset", "tiny", "--address", "127.0.0.1:1", "--json", *options)
    assert command.returncode == 0, command.stderr
    report: dict[str, Any] = json.loads(command.stdout)
    return report


async def live(folder: Path, first_day: int, days: int) -> Days:
    """Days on which the bundle serves that was trained last."""
    async with population(folder, SURFACE, WORLD, SIZE, trained_models, first_day) as people:
        return await people.live(days)
