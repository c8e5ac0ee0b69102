"""One protocol for every recommender."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from services.trainer.evaluation import Requests, batches, evaluate, recommend_all, slices_of
from services.trainer.evaluation_ranking import NO_ITEM
from services.trainer.splits import leave_one_out
from shared.domain.items import Item
from tests.unit.trainer.data_worlds import DAY_S, dataset_of, random_dataset, sequences_dataset

Answer = Callable[[Requests, int], npt.NDArray[np.int32]]


@dataclass(frozen=True)
class Scripted:
    """A recommender that says what the test tells it to."""

    answer: Answer
    name: str = "scripted"

    def recommend(self, requests: Requests, k: int) -> npt.NDArray[np.int32]:
        return self.answer(requests, k)


def silent(requests: Requests, k: int) -> npt.NDArray[np.int32]:
    return np.full((len(requests), k), NO_ITEM, dtype=np.int32)


def test_a_list_with_the_target_first_scores_one_and_an_empty_one_is_filled_by_popularity() -> None:
    data = sequences_dataset({"u": "abcd", "v": "abce", "w": "abcf"})
    split = leave_one_out(data)

    def knowing(requests: Requests, k: int) -> npt.NDArray[np.int32]:
        lists = silent(requests, k)
        lists[:, 0] = split.target_items
        return lists

    perfect, filled = evaluate(Scripted(knowing), split, k=2), evaluate(Scripted(silent), split, k=2)

    assert (perfect.values["hr@2"], perfect.values["ndcg@2"], perfect.values["mrr@2"]) == (1, 1, 1)
    assert perfect.intervals["ndcg@2"] == (1, 1)
    # d, e and f are equally unpopular: everybody gets the first two rows of them.
    assert [[data.items.ids[row] for row in listed] for listed in filled.lists] == [["d", "e"]] * 3
    assert filled.values["ndcg@2"] == pytest.approx((1 + 1 / np.log2(3)) / 3)
    assert filled.values["coverage@2"] == pytest.approx(2 / 6)


def test_lists_are_measured_at_k_and_recall_at_its_own_depths() -> None:
    split = leave_one_out(random_dataset(np.random.default_rng(0)))

    measured = evaluate(Scripted(silent), split, k=3, recall_at=(5, 20))

    assert measured.lists.shape == (len(split), 3)
    assert measured.values["hr@3"] <= measured.values["recall@5"] < measured.values["recall@20"] <= 1
    assert measured.values["hr@3"] == (measured.lists == split.target_items[:, None]).any(axis=1).mean()


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (lambda requests: requests.histories[0][0], "an item that the user has seen"),
        (lambda requests: 10_000, "an item row that does not exist"),
        (lambda requests: len(requests.catalogue) - 1, "outside the catalogue"),
    ],
)
def test_a_recommender_that_breaks_the_rules_is_stopped_by_name(row: Callable[[Requests], int], fault: str) -> None:
    rows = [("u", item, float(time)) for time, item in enumerate("abcd")]
    split = leave_one_out(dataset_of(rows, items=[Item("never taken")]))

    def breaking(requests: Requests, k: int) -> npt.NDArray[np.int32]:
        lists = silent(requests, k)
        lists[0, 0] = row(requests)
        return lists

    with pytest.raises(ValueError, match=f"scripted listed .*{fault}.* for user row 0"):
        evaluate(Scripted(breaking), split, k=2)


def test_batches_hold_each_user_once_with_the_history_of_the_split() -> None:
    split = leave_one_out(random_dataset(np.random.default_rng(2)))

    parts = list(batches(split, size=7))

    assert np.concatenate([part.user_rows for part in parts]).tolist() == split.user_rows.tolist()
    assert max(len(part) for part in parts) == 7
    for place in (0, 8, len(split) - 1):
        part, row = parts[place // 7], place % 7
        events = split.histories[place]
        np.testing.assert_array_equal(part.histories[row], split.interactions.item_rows[events])
        np.testing.assert_array_equal(part.seen[row], part.histories[row])
        times = part.event_times_s[part.histories.offsets[row] : part.histories.offsets[row + 1]]
        np.testing.assert_array_equal(times, split.interactions.times_s[events])
        assert part.request_times_s[row] == times[-1]


def test_progress_counts_every_user() -> None:
    split = leave_one_out(random_dataset(np.random.default_rng(2)))
    seen: list[int] = []

    recommend_all(Scripted(silent), split, 5, seen.append)

    assert sum(seen) == len(split)


def test_slices_part_the_users_by_history_target_and_day() -> None:
    rows = [("new", "a", 0.0), ("new", "b", 1.0), ("new", "c", 2.0)]
    rows += [("old", item, place * DAY_S) for place, item in enumerate("abcdefg")]
    split = leave_one_out(dataset_of(rows))

    masks = slices_of(split)

    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "cold users": [True, False],
        "cold items": [False, True],
        "same day": [True, False],
        "later days": [False, True],
    }


def test_a_slice_has_its_own_means_and_an_empty_slice_is_left_out() -> None:
    split = leave_one_out(sequences_dataset({"u": "abcd", "v": "abce", "w": "abcf"}))

    measured = evaluate(Scripted(silent), split, k=2)

    assert measured.slices["cold users"].users == 3
    assert measured.slices["cold users"].values["hr@2"] == measured.values["hr@2"]
    assert "later days" not in measured.slices


def test_everybody_who_has_seen_everything_gets_an_empty_list_and_no_error() -> None:
    split = leave_one_out(sequences_dataset({"u": "aaaa"}))

    measured = evaluate(Scripted(silent), split)

    assert measured.lists.tolist() == [[NO_ITEM] * 10]
    assert (measured.values["hr@10"], measured.values["coverage@10"]) == (0, 0)
