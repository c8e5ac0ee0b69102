"""What a front says of its last minutes."""

from __future__ import annotations

import pytest

from services.recommendation.traffic import REMEMBERED, WINDOW_MS, Tally, Traffic
from shared.domain.provenance import Degradation

NOW_MS = 1_700_000_000_000
LATE = Degradation("rank", "deadline")


def test_rate_percentiles_and_losses_are_those_of_the_window() -> None:
    tally = Tally(NOW_MS - 10 * WINDOW_MS)
    tally.count(NOW_MS - 2 * WINDOW_MS, 9_999, (LATE,))
    for number in range(100):
        tally.count(NOW_MS - number, number + 1, (LATE, Degradation("x", "y")) if number < 10 else ())

    traffic = tally.traffic(NOW_MS)

    assert (tally.answered, tally.degraded) == (101, 11)
    assert traffic.window_seconds == 300
    assert traffic.answers_per_second == pytest.approx(100 / 300)
    assert (traffic.p50_ms, traffic.p99_ms) == (50.5, pytest.approx(99.01))
    assert traffic.degraded_share == pytest.approx(0.1)
    assert traffic.losses == (("rank", "deadline", 10), ("x", "y", 10))


def test_a_front_that_has_just_started_counts_from_its_start() -> None:
    tally = Tally(NOW_MS - 2_000)
    for _ in range(10):
        tally.count(NOW_MS, 5, ())

    assert tally.traffic(NOW_MS).answers_per_second == 5
    assert Tally(NOW_MS).traffic(NOW_MS + 1_000) == Traffic(window_seconds=1)


def test_under_much_load_the_window_is_shorter_and_the_rate_stays_right() -> None:
    tally = Tally(NOW_MS - WINDOW_MS)
    for number in range(3 * REMEMBERED):
        tally.count(NOW_MS - 3 * REMEMBERED + number, 1, ())

    traffic = tally.traffic(NOW_MS)

    assert traffic.window_seconds == pytest.approx(REMEMBERED / 1_000)
    assert traffic.answers_per_second == pytest.approx(1_000)
