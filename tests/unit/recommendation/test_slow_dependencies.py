"""The ladder under load in simulated time: a service answers late, is down, comes back, and requests keep coming."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest

from services.recommendation.app import RecommendationApp
from services.recommendation.budget import Budget
from tests.fakes_services import Outage, down
from tests.simulated_time import simulated
from tests.unit.recommendation.front import World, ask, losses, opened

EVERY_S, SECONDS = 0.03, 4
BEGIN_S, END_S = 0.6, 3.0
DEADLINE_S, MARGIN_S = 0.2, 0.01
TRIAL_S = 0.25
USUAL_S = {"features": 0.001, "candidates": 0.004, "ranking": 0.007, "feedback": 0.002}
DOWN = down("a service")
STAGE = {"features": "hydrate", "candidates": "retrieve", "ranking": "rank"}
"""What an answer lists when a service is late."""


@dataclass(frozen=True)
class Asked:
    """One request: when, how long until its answer, and what that was."""

    at_s: float
    took_s: float
    entries: int
    lost: frozenset[str]


@dataclass(repr=False)
class Load:
    """Requests at a steady pace, whatever becomes of those before; in the middle something happens to a service.

    Attributes:
        calls: of the service, by the moment.
    """

    world: World
    service: Outage
    asked: list[Asked] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)

    @classmethod
    async def lived(cls, name: str, delay_s: float, error: Exception | None) -> Load:
        """All of it, from the first request to the last."""
        world = World()
        for each, usual_s in USUAL_S.items():
            getattr(world, each).delay_s = usual_s
        load = cls(world, getattr(world, name))
        async with opened(world, surfaces_poll_seconds=1e6) as app:
            loop = asyncio.get_running_loop()
            loop.call_later(BEGIN_S, load._become, delay_s, error)
            loop.call_later(END_S, load._become, USUAL_S[name], None)
            load._note_calls()
            await asyncio.gather(*(load._ask(app, number * EVERY_S) for number in range(int(SECONDS / EVERY_S))))
            assert app.recommender.recorder.lost == 0
        return load

    async def _ask(self, app: RecommendationApp, at_s: float) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(at_s)
        query = replace(ask(), budget=Budget.of((DEADLINE_S - MARGIN_S) * 1e3, loop.time))
        answer = await app.recommender.recommend(query)
        stages = frozenset(stage for stage, _ in losses(answer))
        self.asked.append(Asked(at_s, loop.time() - at_s, len(answer.entries), stages))

    def _become(self, delay_s: float, error: Exception | None) -> None:
        self.service.delay_s, self.service.error = delay_s, error

    def _note_calls(self) -> None:
        answer, loop = self.service.answer, asyncio.get_running_loop()

        async def noted() -> None:
            self.calls.append(loop.time())
            await answer()

        self.service.answer = noted  # type: ignore[method-assign]

    def between(self, begin_s: float, end_s: float) -> list[Asked]:
        """The requests of a time."""
        return [each for each in self.asked if begin_s <= each.at_s < end_s]

    def median_s(self, begin_s: float, end_s: float) -> float:
        """How long half of the requests of a time took at most."""
        return float(np.median([each.took_s for each in self.between(begin_s, end_s)]))


@cache
def load_while(name: str, delay_s: float = 0.0, error: Exception | None = None) -> Load:
    """What happened while a service answered so late, or failed."""
    return simulated(Load.lived(name, delay_s, error))


@pytest.mark.parametrize("delay_s", [0.19, 0.5, 60.0])
@pytest.mark.parametrize("name", STAGE)
def test_while_a_service_answers_late_every_request_is_answered_in_time_and_says_what_it_lost(
    name: str, delay_s: float
) -> None:
    load = load_while(name, delay_s)

    recovered_s = END_S + TRIAL_S + DEADLINE_S
    assert {each.entries for each in load.asked} == {10}
    assert max(each.took_s for each in load.asked) <= DEADLINE_S
    assert all(STAGE[name] in each.lost for each in load.between(BEGIN_S, END_S))
    assert {each.lost for each in (*load.between(0, BEGIN_S - DEADLINE_S), *load.between(recovered_s, SECONDS))} == {
        frozenset()
    }


def test_while_the_log_answers_late_nobody_notices_and_no_slate_is_lost() -> None:
    load = load_while("feedback", 5.0)

    assert {(each.entries, each.lost) for each in load.asked} == {(10, frozenset())}
    assert len(load.world.feedback.slates) == len(load.asked)


@pytest.mark.parametrize(("delay_s", "error"), [(60.0, None), (0.0, DOWN)], ids=["late", "down"])
@pytest.mark.parametrize("name", STAGE)
def test_while_a_circuit_is_open_half_of_the_requests_take_no_longer_than_usual(
    name: str, delay_s: float, error: Exception | None
) -> None:
    load = load_while(name, delay_s, error)

    usual_s = load.median_s(0, BEGIN_S - DEADLINE_S)
    open_s = load.median_s(BEGIN_S + DEADLINE_S, END_S)
    assert usual_s > 0
    assert open_s <= usual_s


def test_while_a_circuit_is_open_no_request_waits_for_a_trial_either() -> None:
    load = load_while("ranking", 60.0)

    opened_s = BEGIN_S + DEADLINE_S
    assert max(each.took_s for each in load.between(opened_s, END_S)) < 0.01


def test_a_service_that_is_down_is_tried_four_times_a_second_however_many_requests_come() -> None:
    load = load_while("ranking", error=DOWN)

    opened_s = BEGIN_S + 0.1
    trials = [at_s for at_s in load.calls if opened_s <= at_s < END_S]
    assert np.diff(trials) == pytest.approx(TRIAL_S, abs=0.002)


def test_a_service_that_is_back_is_found_by_a_trial_though_nobody_asks() -> None:
    async def lived() -> frozenset[tuple[str, str]]:
        world = World()
        async with opened(world, surfaces_poll_seconds=1e6) as app:
            world.ranking.error = down("ranking")
            for _ in range(4):
                await app.recommender.recommend(ask())
            world.ranking.error = None
            await asyncio.sleep(2 * TRIAL_S)
            return frozenset(losses(await app.recommender.recommend(ask())))

    assert simulated(lived()) == frozenset()
