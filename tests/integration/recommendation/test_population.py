"""Twenty days of a population with known tastes: feedback makes slates better, exploration finds the unlooked-for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.world import Days, population

DAYS, PLANT_ON = 20, 6
EXPLOITING = "weights: {like: 1}\nquotas: {popular: 60, interests: 60, fresh: 20}\n"
EXPLORING = (
    "weights: {like: 1}\nquotas: {popular: 60, interests: 60, fresh: 20, underexposed: 20}\n"
    "exploration: {slots: 1, method: thompson, first_position: 4, probability: 1, sources: [underexposed]}\n"
)


async def lived(folder: Path, surface: str, *, tell: bool = True) -> Days:
    """So many days on a surface."""
    async with population(folder, surface) as people:
        return await people.live(DAYS, tell=tell, plant_on=PLANT_ON)


async def test_feedback_raises_the_mean_reward_and_without_it_nothing_changes(tmp_path: Path) -> None:
    told = await lived(tmp_path / "told", EXPLOITING)
    untold = await lived(tmp_path / "untold", EXPLOITING, tell=False)

    last = np.mean(told.rewards[-5:])
    assert last > 2 * told.rewards[0]
    assert last > 2 * np.mean(untold.rewards[-5:])


async def test_exploration_finds_the_new_favourite_that_exploitation_misses(tmp_path: Path) -> None:
    exploring = await lived(tmp_path / "exploring", EXPLORING)
    exploiting = await lived(tmp_path / "exploiting", EXPLOITING)

    assert sum(exploiting.planted_shown) == 0
    assert sum(exploring.planted_likes) >= 10
    assert np.mean(exploring.rewards[PLANT_ON:]) >= np.mean(exploiting.rewards[PLANT_ON:]) - 0.01, "it costs little"


async def test_the_same_world_gives_the_same_days(tmp_path: Path) -> None:
    first = await lived(tmp_path / "first", EXPLORING)
    again = await lived(tmp_path / "again", EXPLORING)

    assert first == again
