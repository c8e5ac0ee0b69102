"""How many slates are made at once: as many as are ready in time, and the rest is told so at once."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from services.recommendation.crowding import FIRST, LEAST, Crowd
from shared.kernel.errors import ErrorReason, ServiceError


@dataclass
class Watch:
    """Seconds that pass when the test says so."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


def answers(crowd: Crowd, watch: Watch, at_once: int, seconds: float, *, tells: bool = True) -> None:
    """So many requests that begin together and end together."""
    with ExitStack() as places:
        for _ in range(at_once):
            places.enter_context(crowd.place(tells=tells))
        watch.seconds += seconds


def test_who_finds_no_place_is_told_at_once() -> None:
    crowd = Crowd(150.0, Watch())

    with ExitStack() as places:
        for _ in range(FIRST):
            places.enter_context(crowd.place(tells=True))
        with pytest.raises(ServiceError, match=str(FIRST)) as raised, crowd.place(tells=True):
            pass

    assert raised.value.reason is ErrorReason.OVERLOADED
    with crowd.place(tells=True):
        assert crowd.limit == FIRST


def test_late_answers_that_were_under_way_together_lower_the_limit_once() -> None:
    watch = Watch()
    crowd = Crowd(150.0, watch)

    answers(crowd, watch, at_once=20, seconds=0.2)

    assert crowd.limit == int(FIRST * 0.8)


def test_the_limit_falls_no_further_than_what_a_small_machine_answers_in_time() -> None:
    watch = Watch()
    crowd = Crowd(150.0, watch)

    for _ in range(100):
        answers(crowd, watch, at_once=2, seconds=1.0)

    assert crowd.limit == LEAST


def test_answers_in_time_raise_the_limit_again_while_it_is_needed() -> None:
    watch = Watch()
    crowd = Crowd(150.0, watch)
    for _ in range(100):
        answers(crowd, watch, at_once=2, seconds=1.0)

    answers(crowd, watch, at_once=1, seconds=0.01)
    assert crowd.limit == LEAST  # one at a time needs no more

    for _ in range(100):
        answers(crowd, watch, at_once=crowd.limit, seconds=0.1)
    assert crowd.limit > 2 * LEAST


def test_a_request_that_asks_to_wait_says_nothing_about_the_crowd() -> None:
    watch = Watch()
    crowd = Crowd(150.0, watch)

    answers(crowd, watch, at_once=5, seconds=1.0, tells=False)

    assert crowd.limit == FIRST


def test_a_request_that_was_given_up_gives_its_place_back_and_tells_that_it_was_late() -> None:
    watch = Watch()
    crowd = Crowd(150.0, watch)

    def give_up() -> None:
        with crowd.place(tells=True):
            watch.seconds += 1
            raise TimeoutError

    with pytest.raises(TimeoutError):
        give_up()

    assert crowd.limit == int(FIRST * 0.8)
    with ExitStack() as places:
        for _ in range(crowd.limit):
            places.enter_context(crowd.place(tells=True))
        assert crowd.limit == int(FIRST * 0.8)


def test_without_a_limit_everybody_is_let_in() -> None:
    watch = Watch()
    crowd = Crowd(0.0, watch)

    answers(crowd, watch, at_once=3 * FIRST, seconds=5.0)

    assert crowd.limit == FIRST
