"""Twenty days of a population with known tastes: feedback makes slates better, exploration finds the unlooked-for."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tests.world import PAGE, PEOPLE, Days, population

WORLDS = range(12 if os.environ.get("WINNOW_SOAK") else 4)
DAYS, PLANT_ON = 20, 6
EXPLOITING = "weights: {like: 1}\nquotas: {popular: 60, interests: 60, fresh: 20}\n"
EXPLORING = (
    "weights: {like: 1}\nquotas: {popular: 60, interests: 60, fresh: 20, underexposed: 20}\n"
    "exploration: {slots: 1, method: thompson, first_position: 4, probability: 1, sources: [underexposed]}\n"
)
FINDERS = PEOPLE / 4
"""So many people at least like the planted item in each world: it is found, and not by luck of one."""
COST = 1 / PAGE
"""Part of the mean reward that exploring may cost at most: one entry of a page is left to chance, the others are not."""


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


async def test_exploration_finds_the_new_favourite_that_exploitation_misses(tmp_path: Path) -> None:
    exploring = [await lived(tmp_path / f"exploring-{world}", EXPLORING, world) for world in WORLDS]
    exploiting = [await lived(tmp_path / f"exploiting-{world}", EXPLOITING, world) for world in WORLDS]

    assert [sum(days.planted_shown) for days in exploiting] == [0] * len(WORLDS)
    assert min(sum(days.planted_likes) for days in exploring) >= FINDERS
    assert _mean_reward(exploring) >= (1 - COST) * _mean_reward(exploiting)


async def test_the_same_world_gives_the_same_days(tmp_path: Path) -> None:
    first = await lived(tmp_path / "first", EXPLORING, 0)
    again = await lived(tmp_path / "again", EXPLORING, 0)

    assert first == again


def _mean_reward(worlds: list[Days]) -> float:
    """Of the days from the planting on."""
    return float(np.mean([days.rewards[PLANT_ON:] for days in worlds]))
