"""The decayed transition counter against its formula, written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.history import History
from shared.domain.vocabulary import Vocabulary
from shared.model import transitions
from shared.model.bundle import ITEMS, open_bundle, write_bundle, write_strings
from shared.model.index import NONE
from shared.model.transitions import DISTANCE, TransitionCounts, TransitionTable, transition_table
from tests.unit.model.bundles import facts

N = 12
DECAY, DAMPING = 0.8, 0.5


def sequences_of(*users: list[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    flat = np.array([row for user in users for row in user], np.int64)
    return flat, np.cumsum([0, *map(len, users)]).astype(np.int64)


def by_the_formula(users: list[list[int]], history: list[int]) -> npt.NDArray[np.float64]:
    counts, popularity = np.zeros((N, N)), np.zeros(N)
    for user in users:
        for place, item in enumerate(user):
            popularity[item] += 1
            for distance in range(1, min(DISTANCE, len(user) - 1 - place) + 1):
                if user[place + distance] != item:
                    counts[item, user[place + distance]] += 1 / distance
    weights = counts / np.maximum(popularity, 1) ** DAMPING
    ages = enumerate(history[::-1])
    return sum((DECAY**age * weights[item] for age, item in ages if item != NONE), np.zeros(N))


histories = st.lists(st.integers(0, N - 1), max_size=30)


@settings(max_examples=100, deadline=None)
@given(users=st.lists(histories, min_size=1, max_size=6), history=st.lists(st.integers(-1, N - 1), max_size=40))
@pytest.mark.parametrize("dense_items", [0, 100_000])
def test_scores_follow_the_formula(dense_items: int, users: list[list[int]], history: list[int]) -> None:
    table = transition_table(sequences_of(*users), N, N, (DECAY, DAMPING))
    rows, asked = np.array(history, np.int64), np.append(np.arange(N), NONE)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transitions, "_DENSE_ITEMS", dense_items)
        given_scores = table.scores(rows, asked)
        found_rows, found_scores = table.scored(rows)

    expected = by_the_formula(users, history)
    assert np.allclose(given_scores, [*expected, 0], atol=1e-5)
    assert np.array_equal(found_rows, np.flatnonzero(expected > 0))
    assert np.allclose(found_scores, expected[expected > 0], atol=1e-5)


def test_only_the_strongest_followers_are_kept() -> None:
    users = [[0, 1]] * 3 + [[0, 2]] * 2 + [[0, 3]]

    table = transition_table(sequences_of(*users), N, 2, (DECAY, 0))

    assert table.followers[table.offsets[0] : table.offsets[1]].tolist() == [1, 2]


def test_what_follows_most_often_comes_first() -> None:
    users = [[0, 1]] * 3 + [[0, 2]] * 2
    table = transition_table(sequences_of(*users), N, N, (DECAY, 0))

    found = table.similar(np.array([0, 5]), 3)

    assert found.rows.tolist() == [[1, 2, NONE], [NONE, NONE, NONE]]


def test_histories_of_the_domain_are_answered_one_by_one() -> None:
    table = transition_table(sequences_of([0, 1], [2, 3]), N, N, (DECAY, 0))
    vocabulary = Vocabulary(f"i{row}" for row in range(N))
    asked = [_history("i0"), _history("i2", "unknown"), History.empty()]

    found = table.search(asked, vocabulary, 1)

    assert found.rows[:, 0].tolist() == [1, 3, NONE]
    assert table.search([], vocabulary, 4).rows.shape == (0, 4)


def test_nothing_learned_is_nothing_found() -> None:
    table = transition_table(sequences_of([]), N, N, (DECAY, DAMPING))

    assert table.scores(np.array([1, 2]), np.arange(N)).tolist() == [0] * N
    assert (table.top([np.array([1])], 3).rows == NONE).all()


def test_a_table_out_of_a_bundle_scores_as_before(tmp_path: Path) -> None:
    table = transition_table(sequences_of([0, 1, 2, 3], [3, 1, 4]), N, N, (DECAY, DAMPING))
    table.save(tmp_path)
    write_strings(tmp_path / ITEMS, tuple(f"i{row}" for row in range(N)))
    write_bundle(tmp_path, facts())

    loaded = TransitionTable.load(open_bundle(tmp_path))

    history = np.array([0, 3])
    assert np.array_equal(loaded.scores(history, np.arange(N)), table.scores(history, np.arange(N)))


def _history(*names: str) -> History:
    count = len(names)
    return History(names, np.ones(count, np.int32), np.full(count, np.nan, np.float32), np.arange(count))


@settings(max_examples=50, deadline=None)
@given(users=st.lists(histories, min_size=1, max_size=6), together=st.integers(1, 20))
def test_counting_a_few_items_at_a_time_changes_nothing(users: list[list[int]], together: int) -> None:
    at_once = transition_table(sequences_of(*users), N, 3, (DECAY, DAMPING))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transitions, "_EVENTS_TOGETHER", together)
        patch.setattr(transitions, "_PAIRS_TOGETHER", together)
        in_parts = transition_table(sequences_of(*users), N, 3, (DECAY, DAMPING))

    for name in ("offsets", "followers", "weights"):
        assert np.array_equal(getattr(in_parts, name), getattr(at_once, name))


def test_a_counter_keeps_what_any_of_its_dampings_asks_for_and_refuses_others() -> None:
    rng = np.random.default_rng(3)
    sequences = sequences_of(*(rng.integers(0, N, 15).tolist() for _ in range(20)))
    counter = TransitionCounts.of(sequences, N, 2, (0.0, 0.5))

    for damping in (0.0, 0.5):
        table, alone = counter.table((DECAY, damping)), transition_table(sequences, N, 2, (DECAY, damping))
        assert np.array_equal(table.followers, alone.followers)
        assert np.array_equal(table.weights, alone.weights)
    with pytest.raises(ValueError, match=r"not 0.75"):
        counter.table((DECAY, 0.75))
