"""Lists out of scores, whatever the scores are."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from services.trainer.datasets_ragged import Ragged
from services.trainer.evaluation_ranking import NO_ITEM, blocked_items, completed, fault_of, top_items

NOTHING = np.zeros((1, 6), dtype=np.bool_)
scores_of = st.one_of(st.integers(-2, 2).map(float), st.sampled_from([np.nan, np.inf, -np.inf]))


def test_the_best_come_first_and_equal_scores_stand_by_row() -> None:
    scores = np.array([[1.0, 3.0, 3.0, 0.0, 3.0, 2.0]])

    assert top_items(scores, NOTHING, 4).tolist() == [[1, 2, 4, 5]]
    assert top_items(scores, NOTHING, 2).tolist() == [[1, 2]]


def test_what_is_not_a_finite_number_never_holds_a_place() -> None:
    scores = np.array([[np.nan, np.inf, -5.0, -np.inf, 1.0, np.nan]])

    assert top_items(scores, NOTHING, 4).tolist() == [[4, 2, NO_ITEM, NO_ITEM]]


def test_blocked_items_give_way() -> None:
    blocked = blocked_items(Ragged(np.array([5, 5, 1]), np.array([0, 2, 3])), np.array([True] * 5 + [True]))

    lists = top_items(np.array([[0.0, 1, 2, 3, 4, 5]] * 2), blocked, 2)

    assert lists.tolist() == [[4, 3], [5, 4]]


def test_a_list_longer_than_the_catalogue_has_open_places() -> None:
    assert top_items(np.array([[2.0, 1.0]]), np.zeros((1, 2), bool), 4).tolist() == [[0, 1, NO_ITEM, NO_ITEM]]


def test_open_places_are_closed_up_and_filled_by_popularity_without_seen_or_listed_items() -> None:
    lists = np.array([[3, NO_ITEM, 0, NO_ITEM]], dtype=np.int32)
    blocked = np.array([[False, True, False, False, False, False]])
    popularity = np.array([9.0, 8.0, 1.0, 7.0, 5.0, 5.0])

    assert completed(lists, blocked, popularity).tolist() == [[3, 0, 4, 5]]


def test_a_place_stays_open_only_when_nothing_is_left() -> None:
    lists = np.full((1, 4), NO_ITEM, dtype=np.int32)
    blocked = np.array([[True, False, False]])

    assert completed(lists, blocked, np.array([3.0, 0.0, 1.0])).tolist() == [[2, 1, NO_ITEM, NO_ITEM]]


def test_faults_are_found_and_named() -> None:
    blocked = np.array([[False] * 4, [True, False, False, False]])

    assert fault_of(np.array([[0, 1], [1, NO_ITEM]], np.int32), blocked) is None
    assert fault_of(np.array([[0, 1], [1, 0]], np.int32), blocked) == (
        1, "an item that the user has seen or that is outside the catalogue",
    )  # fmt: skip
    assert fault_of(np.array([[2, 2], [1, 2]], np.int32), blocked) == (0, "an item twice")
    assert fault_of(np.array([[2, 4], [1, 2]], np.int32), blocked) == (0, "an item row that does not exist")
    assert fault_of(np.array([[2, NO_ITEM], [NO_ITEM, NO_ITEM]], np.int32), blocked) is None


@given(
    scores=hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=scores_of),
    k=st.integers(1, 12),
    data=st.data(),
)
@settings(max_examples=300, deadline=None)
def test_lists_equal_those_of_a_plain_stable_sort(
    scores: np.ndarray[tuple[int, int], np.dtype[np.float64]], k: int, data: st.DataObject
) -> None:
    blocked = data.draw(hnp.arrays(np.bool_, scores.shape))
    popularity = data.draw(hnp.arrays(np.float64, scores.shape[1:], elements=st.integers(0, 3).map(float)))

    lists = completed(top_items(scores, blocked, k), blocked, popularity)

    for user, listed in enumerate(lists.tolist()):
        allowed = [item for item in range(scores.shape[1]) if not blocked[user, item]]
        known = [item for item in allowed if np.isfinite(scores[user, item])]
        best = sorted(known, key=lambda item: -scores[user, item])
        popular = sorted((item for item in allowed if item not in best), key=lambda item: -popularity[item])
        expected = (best + popular)[:k]
        assert listed == expected + [NO_ITEM] * (k - len(expected))
