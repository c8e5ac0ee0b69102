"""Counts of events by item that lose half their weight every half-life."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.feature.decayed_counts import BUCKETS_PER_HALF_LIFE, EVALUATED_BUCKETS, HELD_BUCKETS, DecayedCounts

DAY_MS = 86_400_000
BUCKET_MS = DAY_MS // BUCKETS_PER_HALF_LIFE
NOW_MS = 20_000 * DAY_MS
YEARS_MS = 28 * 365 * DAY_MS


def counted(*pairs: tuple[int, int]) -> DecayedCounts:
    """Counts of (row, time) pairs, added one by one."""
    counts = DecayedCounts(DAY_MS)
    for row, time_ms in pairs:
        add(counts, [row], [time_ms])
    return counts


def add(counts: DecayedCounts, rows: list[int], times_ms: list[int]) -> None:
    counts.add(np.array(rows, np.int64), np.array(times_ms, np.int64))


def remove(counts: DecayedCounts, rows: list[int], times_ms: list[int]) -> None:
    counts.remove(np.array(rows, np.int64), np.array(times_ms, np.int64))


def test_an_event_of_now_counts_one() -> None:
    assert counted((3, NOW_MS)).values()[:5].tolist() == [0, 0, 0, 1, 0]


@pytest.mark.parametrize("half_lives", [1, 2, 5])
def test_the_weight_halves_every_half_life(half_lives: int) -> None:
    counts = counted((0, NOW_MS - half_lives * DAY_MS), (1, NOW_MS))

    assert counts.values()[0] == 0.5**half_lives


def test_within_a_half_life_the_weight_falls_bucket_by_bucket() -> None:
    counts = counted(*((n, NOW_MS - n * BUCKET_MS) for n in range(9)))

    assert counts.values()[:9] == pytest.approx([2 ** (-n / 8) for n in range(9)], rel=1e-8)


def test_an_event_that_arrives_late_counts_with_its_own_age() -> None:
    counts = counted((1, NOW_MS), (0, NOW_MS - DAY_MS))

    assert counts.values()[:2].tolist() == [0.5, 1.0]


def test_data_of_a_past_era_counts_half_after_the_first_event_of_today() -> None:
    old = [(0, NOW_MS - YEARS_MS)] * 8
    before = counted(*old).values()[0]

    counts = counted(*old, (1, NOW_MS))

    assert before == 8.0
    assert counts.values()[:2].tolist() == [4.0, 1.0]


def test_twenty_days_of_silence_are_twenty_days() -> None:
    counts = counted((0, NOW_MS - 20 * DAY_MS), (1, NOW_MS))

    assert counts.values()[0] == pytest.approx(2.0**-20, rel=1e-2)


def test_events_before_the_held_buckets_are_left_out() -> None:
    counts = counted(*((0, NOW_MS - n * BUCKET_MS) for n in range(HELD_BUCKETS)))
    start = counts.window_start_ms
    before = counts.values()[:2].copy()

    add(counts, [1], [NOW_MS - HELD_BUCKETS * BUCKET_MS])

    assert start == NOW_MS - (HELD_BUCKETS - 1) * BUCKET_MS
    assert counts.values()[:2].tolist() == before.tolist()


def test_a_new_bucket_takes_the_place_of_the_oldest() -> None:
    counts = counted(*((n, NOW_MS + n * BUCKET_MS) for n in range(HELD_BUCKETS + 1)))

    assert not counts.used(0)
    assert counts.used(1)
    assert len(counts.pairs(HELD_BUCKETS)) == 1


def test_every_event_counts_until_the_buckets_are_full() -> None:
    assert counted((0, NOW_MS), (0, 5)).window_start_ms is None


def test_what_is_removed_was_never_there() -> None:
    counts = counted((0, NOW_MS - DAY_MS), (1, NOW_MS), (0, NOW_MS))

    remove(counts, [1, 0], [NOW_MS, NOW_MS])

    assert counts.values()[:2].tolist() == [1.0, 0.0]
    assert counts.pairs(0) == counted((0, NOW_MS - DAY_MS)).pairs(0)


def test_removing_the_newest_events_brings_older_ones_back() -> None:
    spare = HELD_BUCKETS - EVALUATED_BUCKETS
    newest = [NOW_MS + n * BUCKET_MS for n in range(spare)]
    older = [(0, NOW_MS - n * BUCKET_MS) for n in range(1, EVALUATED_BUCKETS + 1)]
    counts = counted(*older, *((1, time) for time in newest))

    remove(counts, [1] * spare, newest)

    assert counts.pairs(0) == counted(*older).pairs(0)


def test_rows_grow_with_the_catalogue() -> None:
    counts = counted((0, NOW_MS))

    counts.reserve(5_000)
    add(counts, [4_999], [NOW_MS])

    assert counts.values()[[0, 4_999]].tolist() == [1.0, 1.0]


def test_nothing_stored_is_nothing_loaded() -> None:
    counts = DecayedCounts(DAY_MS)

    counts.load([], [])

    assert counts.packed([]) == []
    assert not counts.values().any()


events = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 100 * 8)), max_size=60)


@given(events)
def test_stored_rows_come_back_as_they_were(pairs: list[tuple[int, int]]) -> None:
    counts = counted(*((row, NOW_MS + bucket * BUCKET_MS) for row, bucket in pairs))
    other = DecayedCounts(DAY_MS)

    rows = range(5)
    other.load(rows, counts.packed(rows))

    assert [other.pairs(row) for row in rows] == [counts.pairs(row) for row in rows]
    assert other.values().tolist() == counts.values().tolist()


@given(events, st.integers(1, 7))
def test_one_by_one_or_in_batches_gives_the_same_to_the_last_bit(pairs: list[tuple[int, int]], size: int) -> None:
    timed = [(row, NOW_MS + bucket * BUCKET_MS) for row, bucket in pairs]
    batched = DecayedCounts(DAY_MS)
    for start in range(0, len(timed), size):
        part = timed[start : start + size]
        add(batched, [row for row, _ in part], [time for _, time in part])
        batched.values()  # reading in between changes nothing

    single = counted(*timed)

    assert batched.values().tolist() == single.values().tolist()
    assert [batched.pairs(row) for row in range(5)] == [single.pairs(row) for row in range(5)]
