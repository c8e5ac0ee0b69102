"""Users' vectors kept between requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.candidate_generation.user_vectors import KEPT_SECONDS, UserVectors
from shared.domain.items import User
from tests.unit.candidate_generation.rooms import history_of

HISTORY = history_of("a", "b")
VECTOR = np.array([[0.6, 0.8]], np.float32)


def test_only_the_very_same_history_gets_the_vector() -> None:
    kept = UserVectors()
    kept.keep(HISTORY, VECTOR)
    others = (
        history_of("a", "b", "c"),
        history_of("ab"),
        replace(HISTORY, event_types=HISTORY.event_types + 1),
        replace(HISTORY, values=np.array([1, 2], np.float32)),
        replace(HISTORY, times_ms=HISTORY.times_ms + 1),
    )

    assert kept.get(history_of("a", "b")) is VECTOR
    assert kept.get(HISTORY, User("who says nothing")) is VECTOR
    assert [kept.get(other) for other in others] == [None] * len(others)


def test_only_the_very_same_profile_gets_the_vector() -> None:
    kept = UserVectors()
    kept.keep(HISTORY, VECTOR, User("u", ("jazz",), {"plan": "free"}))
    others = (None, User("u"), User("u", ("rock",), {"plan": "free"}), User("u", ("jazz",), {"plan": "paid"}))

    assert kept.get(HISTORY, User("another", ("jazz",), {"plan": "free"})) is VECTOR
    assert [kept.get(HISTORY, other) for other in others] == [None] * len(others)


def test_the_longest_unused_vector_goes_first() -> None:
    kept = UserVectors(limit=2)
    for name in ("a", "b"):
        kept.keep(history_of(name), VECTOR)
    kept.get(history_of("a"))
    kept.keep(history_of("c"), VECTOR)

    assert [kept.get(history_of(name)) is VECTOR for name in "abc"] == [True, False, True]


def test_a_vector_goes_when_its_time_is_over() -> None:
    moment = 0.0
    kept = UserVectors(now=lambda: moment)
    kept.keep(HISTORY, VECTOR)
    moment = KEPT_SECONDS + 1

    assert kept.get(HISTORY) is None
