"""The rate at which a counter grows."""

from __future__ import annotations

from services.feature.pace import WINDOW_MS, Pace


def noted(*samples: tuple[int, int]) -> Pace:
    pace = Pace()
    for now_ms, counter in samples:
        pace.note(now_ms, counter)
    return pace


def test_before_two_moments_are_known_there_is_no_rate() -> None:
    assert noted().per_second() == 0.0
    assert noted((1_000, 5)).per_second() == 0.0
    assert noted((1_000, 5), (1_000, 9)).per_second() == 0.0


def test_the_rate_is_growth_by_time() -> None:
    assert noted((1_000, 500), (2_000, 1_500), (5_000, 2_500)).per_second() == 500.0


def test_what_was_before_the_window_is_forgotten() -> None:
    fast = [(second * 1_000, second * 9_000) for second in range(100)]
    slow = [(99_000 + second * 1_000, 891_000 + second * 10) for second in range(1, 20)]

    assert noted(*fast, *slow).per_second() == 10.0


def test_many_notes_a_moment_cost_no_memory() -> None:
    pace = noted(*((now_ms, now_ms) for now_ms in range(2 * WINDOW_MS)))

    assert pace.per_second() == 1_000.0
    assert len(pace._samples) < 200
