"""Measures against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from services.trainer import metrics
from services.trainer.metrics_calibration import reliability
from services.trainer.metrics_intervals import bootstrap_difference, bootstrap_interval

LISTS = np.array([[4, 2, 0], [1, 3, 2], [0, 1, 2]], dtype=np.int32)
EVERYTHING = np.ones(5, dtype=np.bool_)


def test_ranks_count_from_one_and_zero_is_a_miss() -> None:
    assert metrics.ranks_of(LISTS, np.array([4, 2, 3], dtype=np.int32)).tolist() == [1, 3, 0]


def test_accuracy_counts_only_the_first_k() -> None:
    ranks = np.array([1, 3, 0, 11])

    assert metrics.hits(ranks, 10).tolist() == [1, 1, 0, 0]
    assert metrics.discounted_gains(ranks, 10).tolist() == [1, 0.5, 0, 0]
    assert metrics.reciprocal_ranks(ranks, 10) == pytest.approx([1, 1 / 3, 0, 0])
    assert metrics.hits(ranks, 2).tolist() == [1, 0, 0, 0]
    assert metrics.discounted_gains(np.array([2]), 10)[0] == pytest.approx(1 / math.log2(3))


def test_coverage_is_the_listed_share_of_the_catalogue() -> None:
    assert metrics.coverage(np.array([[0, 1], [1, -1]], np.int32), EVERYTHING) == pytest.approx(2 / 5)


def test_novelty_is_the_mean_information_of_what_is_listed() -> None:
    counts = np.array([3, 0, 0, 0])  # smoothed shares 4/7, 1/7, …

    assert metrics.novelty(np.array([[0, 1]], np.int32), counts) == pytest.approx((math.log2(7 / 4) + math.log2(7)) / 2)


def test_popularity_percentiles_share_ties() -> None:
    counts = np.array([10, 5, 5, 1])

    assert metrics.popularity_percentile(np.array([[0]], np.int32), counts) == pytest.approx(7 / 8)
    assert metrics.popularity_percentile(np.array([[1, 2]], np.int32), counts) == pytest.approx(4 / 8)
    assert metrics.popularity_percentile(np.array([[0, 1, 2, 3]], np.int32), counts) == pytest.approx(0.5)


def test_exposure_is_equal_at_zero_and_taken_by_one_near_one() -> None:
    same = np.array([[0, 1], [2, 3]], np.int32)

    assert metrics.exposure_gini(same, np.ones(4, bool)) == pytest.approx(0)
    assert metrics.exposure_gini(np.zeros((7, 1), np.int32), np.ones(4, bool)) == pytest.approx(3 / 4)


def test_lists_without_an_item_measure_zero_instead_of_failing() -> None:
    nothing = np.full((2, 3), -1, np.int32)

    assert metrics.coverage(nothing, EVERYTHING) == 0
    assert metrics.novelty(nothing, np.ones(5, int)) == 0
    assert metrics.popularity_percentile(nothing, np.ones(5, int)) == 0
    assert metrics.exposure_gini(nothing, EVERYTHING) == 0


def test_an_interval_is_that_of_the_normal_approximation_and_repeats_with_its_seed() -> None:
    values = np.repeat([0.0, 1.0], [700, 300])

    low, high = bootstrap_interval(values, np.random.default_rng(1))

    half = 1.96 * math.sqrt(0.3 * 0.7 / 1000)
    assert (low, high) == pytest.approx((0.3 - half, 0.3 + half), abs=0.004)
    assert bootstrap_interval(values, np.random.default_rng(1)) == (low, high)


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    rng = np.random.default_rng(2)
    theirs = (rng.random(500) < 0.3).astype(float)
    ours = theirs.copy()
    ours[np.flatnonzero(theirs == 0)[:15]] = 1

    low, high = bootstrap_difference(ours, theirs, np.random.default_rng(0))

    assert 0 < low < 0.03 < high
    assert bootstrap_interval(ours, rng)[0] < bootstrap_interval(theirs, rng)[1]


def test_intervals_refuse_nobody_and_different_users() -> None:
    with pytest.raises(ValueError, match="at least one user"):
        bootstrap_interval(np.array([]), np.random.default_rng(0))
    with pytest.raises(ValueError, match="3 against 2"):
        bootstrap_difference(np.zeros(3), np.zeros(2), np.random.default_rng(0))


def test_calibration_compares_what_was_said_with_what_came() -> None:
    said = np.array([0.2, 0.2, 0.2, 0.2, 0.2, 0.9, 0.9])
    came = np.array([1, 0, 0, 0, 0, 1, 0], dtype=np.bool_)

    measured = reliability(said, came)

    assert measured.predicted == pytest.approx([0.2, 0.9])
    assert measured.observed == pytest.approx([0.2, 0.5])
    assert measured.counts.tolist() == [5, 2]
    assert measured.error == pytest.approx(2 / 7 * 0.4)


def test_honest_probabilities_have_a_small_error_and_doubled_ones_a_large_one() -> None:
    rng = np.random.default_rng(4)
    chance = rng.random(20_000) / 2
    came = rng.random(20_000) < chance

    assert reliability(chance, came).error < 0.01
    assert reliability(2 * chance, came).error > 0.2


def test_calibration_refuses_what_is_no_probability() -> None:
    with pytest.raises(ValueError, match="as many outcomes as predictions: 2 and 1"):
        reliability(np.array([0.5, 0.5]), np.array([True]))
    for wrong in (1.5, -0.1, np.nan):
        with pytest.raises(ValueError, match="outside"):
            reliability(np.array([0.5, wrong]), np.array([True, False]))
