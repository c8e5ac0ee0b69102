"""Ids of answers."""

from __future__ import annotations

import uuid

import numpy as np

from services.recommendation.identity import RecommendationIds, seed_of

NOW_MS = 1_700_000_000_000


def test_an_id_is_a_uuid_of_version_7_with_the_clocks_time() -> None:
    made = uuid.UUID(RecommendationIds(lambda: NOW_MS, np.random.default_rng(0)).next())

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == NOW_MS


def test_ids_are_the_same_for_the_same_clock_and_generator() -> None:
    one, other = (RecommendationIds(lambda: NOW_MS, np.random.default_rng(5)) for _ in range(2))

    assert [one.next() for _ in range(3)] == [other.next() for _ in range(3)]


def test_ids_do_not_repeat_within_a_millisecond() -> None:
    ids = RecommendationIds(lambda: NOW_MS, np.random.default_rng(0))

    assert len({ids.next() for _ in range(10_000)}) == 10_000


def test_later_ids_sort_behind_earlier_ones() -> None:
    times = iter(range(NOW_MS, NOW_MS + 50))
    ids = RecommendationIds(lambda: next(times), np.random.default_rng(0))
    made = [ids.next() for _ in range(50)]

    assert made == sorted(made)


def test_the_seed_depends_on_the_id_alone_and_fits_64_bits() -> None:
    assert seed_of("a") == seed_of("a") != seed_of("b")
    assert 0 <= seed_of("a") < 2**64
