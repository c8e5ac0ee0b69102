"""Twenty days of a population with known tastes: feedback makes slates better, exploration finds the unlooked-for."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.world import PAGE, PEOPLE, Days, population

WORLDS = range(12 if os.environ.get("WINNOW_SOAK") else 4)
DAYS, PLANT_ON = 20, 6
EXPLOITING = "weights: {like: 1}\nquotas: {popular: 60, interests: 60, fresh: 20}\n"
EXPLORING = (
    "weights: {like: 1}\nquotas: {popular: 60, interests: 60, fresh: 20, underexposed: 20}\n"
    "exploration: {slots: 1, method: thompson, first_position: 4, probability: 1, sources: [underexposed]}\n"
)
FINDERS = PEOPLE / 4
"""So many people at least like the planted item before the end: it is found, and not by luck of one."""
COST = 1 / PAGE
"""Part of the reward that exploring may cost at most: one entry of a page is left to chance, the others are not."""


async def lived(folder: Path, surface: str, world: int, *, tell: bool = True) -> Days:
    """So many days on a surface."""
    async with population(folder, surface, world) as people:
        return await people.live(DAYS, tell=tell, plant_on=PLANT_ON)


async def test_feedback_raises_the_mean_reward_and_without_it_nothing_changes(tmp_path: Path) -> None:
    told = await lived(tmp_path / "told", EXPLOITING, 0)
    untold = await lived(tmp_path / "untold", EXPLOITING, 0, tell=False)

    last = np.mean(told.rewards[-5:])
    assert last > 2 * told.rewards[0]
    assert last > 2 * np.mean(untold.rewards[-5:])


@pytest.mark.parametrize("world", WORLDS)
async def test_exploration_finds_the_new_favourite_that_exploitation_misses(tmp_path: Path, world: int) -> None:
    exploring = await lived(tmp_path / "exploring", EXPLORING, world)
    exploiting = await lived(tmp_path / "exploiting", EXPLOITING, world)

    assert sum(exploiting.planted_shown) == 0
    assert sum(exploring.planted_likes) >= FINDERS
    assert np.mean(exploring.rewards[PLANT_ON:]) >= (1 - COST) * np.mean(exploiting.rewards[PLANT_ON:])


async def test_the_same_world_gives_the_same_days(tmp_path: Path) -> None:
    first = await lived(tmp_path / "first", EXPLORING, 0)
    again = await lived(tmp_path / "again", EXPLORING, 0)

    assert first == again
