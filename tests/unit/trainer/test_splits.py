"""Who is asked what: both splits on worlds small enough to read, and against a scorer that shares no code."""

from __future__ import annotations

import numpy as np
import pytest

from services.trainer.datasets import DatasetError
from services.trainer.splits import Split, leave_one_out, time_split
from shared.domain.items import Item
from tests.unit.trainer.data_worlds import dataset_of, random_dataset, sequences_dataset


def told(split: Split, item_ids: tuple[str, ...]) -> list[tuple[str, str]]:
    """History and target of each scored user, as letters."""
    items = split.interactions.item_rows
    histories = ["".join(item_ids[row] for row in items[split.histories[row]]) for row in range(len(split))]
    return list(zip(histories, (item_ids[row] for row in split.target_items), strict=True))


def test_leave_one_out_takes_the_last_for_test_and_the_one_before_for_validation() -> None:
    data = sequences_dataset({"long": "abcde", "three": "bca", "two": "ab", "one": "c"})

    test, validation = leave_one_out(data), leave_one_out(data, "validation")

    assert [data.users.ids[row] for row in test.user_rows] == ["long", "three"]
    assert told(test, data.items.ids) == [("abcd", "e"), ("bc", "a")]
    assert told(validation, data.items.ids) == [("abc", "d"), ("b", "c")]


def test_both_stages_of_leave_one_out_train_on_the_same_events() -> None:
    data = sequences_dataset({"long": "abcde", "three": "bca", "two": "ab"})

    test, validation = leave_one_out(data), leave_one_out(data, "validation")

    np.testing.assert_array_equal(test.train_events, validation.train_events)
    trained = sorted((data.users.ids[u], data.items.ids[i]) for u, i in
                     zip(test.train.user_rows, test.train.item_rows, strict=True))  # fmt: skip
    assert trained == [("long", "a"), ("long", "b"), ("long", "c"), ("three", "b"), ("two", "a"), ("two", "b")]


def test_among_equal_times_the_later_row_of_the_file_is_the_target() -> None:
    data = dataset_of([("u", "z", 5), ("u", "m", 5), ("u", "a", 5)])

    assert told(leave_one_out(data), data.items.ids) == [("zm", "a")]


def test_the_request_has_the_time_of_the_last_history_event_and_not_of_the_target() -> None:
    data = dataset_of([("u", "a", 1), ("u", "b", 7), ("u", "c", 1000)])

    assert leave_one_out(data).request_times_s.tolist() == [7]
    assert leave_one_out(data, "validation").request_times_s.tolist() == [1]


def test_the_time_split_scores_the_first_new_item_after_the_cut() -> None:
    before = [("old", "a", 1), ("old", "b", 2), ("gone", "a", 3), ("old", "c", 4), ("repeats", "d", 5)]
    after = [("new", "a", 6), ("old", "a", 7), ("repeats", "d", 8), ("old", "d", 9), ("old", "e", 10)]
    data = dataset_of(before + after)

    split = time_split(data, 0.5)

    assert [data.users.ids[row] for row in split.user_rows] == ["old"]
    assert told(split, data.items.ids) == [("abc", "d")]
    assert split.history_ends_s.tolist() == [4]
    assert split.request_times_s.tolist() == [5]
    assert len(split.train) == 5


def test_the_validation_of_a_time_split_uses_nothing_after_the_cut_of_the_test() -> None:
    data = random_dataset(np.random.default_rng(3))

    test, validation = time_split(data), time_split(data, stage="validation")

    assert len(test.train) == 810
    assert len(validation.train) == 729
    assert validation.target_events.max() < 810
    assert validation.target_events.min() >= 729


def test_the_catalogue_holds_items_of_any_event_and_not_those_of_the_file_alone() -> None:
    data = dataset_of([("u", "a", 1), ("u", "b", 2), ("u", "c", 3)], items=[Item("shelf warmer")])

    assert leave_one_out(data).catalogue.tolist() == [True, True, True, False]


def test_no_history_reaches_its_target_and_no_train_event_is_a_target() -> None:
    data = random_dataset(np.random.default_rng(5))

    for split in (leave_one_out(data), leave_one_out(data, "validation"), time_split(data)):
        last = split.histories.flat[split.histories.offsets[1:] - 1]
        assert np.all(last < split.target_events)
        assert not np.isin(split.target_events, split.train_events).any()


def test_a_sample_keeps_users_histories_and_targets_together() -> None:
    data = random_dataset(np.random.default_rng(7))
    whole = leave_one_out(data)

    part = whole.sampled(9, np.random.default_rng(0))

    assert len(part) == 9
    everything = dict(zip(whole.user_rows.tolist(), told(whole, data.items.ids), strict=True))
    assert told(part, data.items.ids) == [everything[row] for row in part.user_rows.tolist()]
    assert whole.sampled(10_000, np.random.default_rng(0)) is whole


def test_data_in_which_nobody_can_be_scored_are_one_error() -> None:
    data = sequences_dataset({"u": "ab", "v": "c"})

    with pytest.raises(DatasetError, match="no user of world has 3 events or more"):
        leave_one_out(data)
    with pytest.raises(DatasetError, match="no user of world has an event before and a new item after 10%"):
        time_split(data, 0.1)
