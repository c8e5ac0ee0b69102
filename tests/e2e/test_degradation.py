"""The ladder with real processes: each service is killed, frozen and slowed down while callers go on asking."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.e2e.parts import DEADLINE_S, Load, Parts
from tests.e2e.product import START_SECONDS, Product, wait_until

STAGE = {"feature": "hydrate", "candidate_generation": "retrieve", "ranking": "rank"}
"""What an answer lists when a service is gone."""

CALLS_WITHOUT, SLOW_CALLS = 30, 10


@pytest.fixture(scope="module")
def parts(product: Product) -> Iterator[Parts]:
    """Five processes that serve and have served."""
    with Parts.running(product.data_dir) as running:
        for number in range(60):
            running.recommend(str(number + 1))
        yield running


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
@pytest.mark.parametrize("name", STAGE)
def test_without_a_service_every_call_is_answered_in_time_says_what_it_lost_and_all_is_well_again(
    parts: Parts, name: str, number: signal.Signals
) -> None:
    with Load.on(parts.connect) as load:
        parts.strike(name, number)
        wait_until(lambda: load.lost[STAGE[name]] >= CALLS_WITHOUT or bool(load.failures), START_SECONDS)
        parts.bring_back(name, number)
        parts.wait_healthy()

    assert load.failures == []
    assert [each for each in load.latest if not parts.replays(each)] == []


@pytest.mark.parametrize("late_s", [DEADLINE_S / 2, 2 * DEADLINE_S], ids=["late", "too late"])
@pytest.mark.parametrize("name", STAGE)
def test_while_a_service_answers_late_every_call_is_answered_in_time_says_what_it_lost_and_all_is_well_again(
    parts: Parts, name: str, late_s: float
) -> None:
    with Load.on(parts.connect) as load:
        parts.lines[name].delay_s = late_s
        wait_until(lambda: load.lost[STAGE[name]] >= SLOW_CALLS or bool(load.failures), START_SECONDS)
        parts.lines[name].delay_s = 0.0
        parts.wait_healthy()

    assert load.failures == []
    assert [each for each in load.latest if not parts.replays(each)] == []


def test_while_the_log_answers_late_every_call_is_answered_in_time_and_its_slate_is_in_the_log_soon(
    parts: Parts,
) -> None:
    with Load.on(parts.connect) as load:
        parts.lines["feedback"].delay_s = DEADLINE_S
        slates = [parts.recommend(str(user)) for user in range(1, 11)]
        parts.lines["feedback"].delay_s = 0.0

    assert load.failures == []
    for slate in slates:
        wait_until(lambda slate=slate: parts.has_logged(slate), START_SECONDS)  # type: ignore[misc]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_without_the_log_slates_are_served_and_are_in_it_as_soon_as_it_is_back(
    parts: Parts, number: signal.Signals
) -> None:
    with Load.on(parts.connect) as load:
        parts.strike("feedback", number)
        slates = [parts.recommend(str(user)) for user in range(1, 11)]
        parts.bring_back("feedback", number)
        parts.wait_healthy()

    assert load.failures == []
    for slate in slates:
        wait_until(lambda slate=slate: parts.has_logged(slate), START_SECONDS)  # type: ignore[misc]
