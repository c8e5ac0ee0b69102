"""Twenty days of populations with known tastes: feedback makes slates better, exploration finds the unlooked-for.

In a single world luck decides, so every claim is one about the mean of several, or about each of them.
"""

from __future__ import annotations

import asyncio
import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tests.world import PAGE, PEOPLE, Days, population

WORLDS = range(12 if os.environ.get("WINNOW_SOAK") else 3)
DAYS, PLANT_ON, LAST = 20, 6, 5
EXPLOITING = "weights: {like: 1}\nquotas: {popular: 60, interests: 60, fresh: 20}\n"
EXPLORING = (
    "weights: {like: 1}\nquotas: {popular: 60, interests: 60, fresh: 20, underexposed: 20}\n"
    "exploration: {slots: 1, method: thompson, first_position: 4, probability: 1, sources: [underexposed]}\n"
)
GAIN = 1.5
"""What is shown last is liked so much more often than where nobody's likes are told."""
FINDERS = PEOPLE / 4
"""So many people at least like the planted item in each world: it is found, and not by luck of one."""
COST = 1 / PAGE
"""Part of the mean reward that exploring may cost at most: one entry of a page is left to chance, the rest is not."""


def lived(world: int, surface: str, *, tell: bool = True) -> Days:
    """So many days on a surface."""

    async def live(folder: Path) -> Days:
        async with population(folder, surface, world) as people:
            return await people.live(DAYS, tell=tell, plant_on=PLANT_ON)

    with TemporaryDirectory() as folder:
        return asyncio.run(live(Path(folder)))


@cache
def lives(surface: str, *, tell: bool = True) -> list[Days]:
    """The same surface in every world."""
    return [lived(world, surface, tell=tell) for world in WORLDS]


def mean_reward(worlds: list[Days], begin: int, end: int = DAYS) -> float:
    """Likes an entry, over all worlds and the days from `begin` to before `end`."""
    return float(np.mean([days.rewards[begin:end] for days in worlds]))


def test_feedback_raises_the_mean_reward_and_without_it_nothing_changes() -> None:
    told, untold = lives(EXPLOITING), lives(EXPLOITING, tell=False)

    last = mean_reward(told, DAYS - LAST)
    assert last > GAIN * mean_reward(told, 0, 1)
    assert last > GAIN * mean_reward(untold, DAYS - LAST)


def test_exploration_finds_the_new_favourite_that_exploitation_misses() -> None:
    exploring, exploiting = lives(EXPLORING), lives(EXPLOITING)

    assert [sum(days.planted_shown) for days in exploiting] == [0] * len(WORLDS)
    assert min(sum(days.planted_likes) for days in exploring) >= FINDERS
    assert mean_reward(exploring, PLANT_ON) >= (1 - COST) * mean_reward(exploiting, PLANT_ON)


def test_the_same_world_gives_the_same_days() -> None:
    first, *_ = lives(EXPLORING)

    assert lived(0, EXPLORING) == first
