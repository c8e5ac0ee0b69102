"""The one form in which models see what happened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.domain.items import Item, User
from tests.unit.trainer.data_worlds import dataset_of


def test_events_of_a_user_keep_file_order_among_equal_times() -> None:
    data = dataset_of([("u", "late", 9), ("u", "b", 5), ("v", "x", 5), ("u", "a", 5)])

    mine = data.interactions.by_user().events_of(data.users.row("u"))

    assert [data.items.ids[row] for row in data.interactions.item_rows[mine]] == ["b", "a", "late"]


def test_a_user_without_events_has_an_empty_sequence() -> None:
    data = dataset_of([("u", "a", 1)], users=[User("silent", ("jazz",))])

    sequences = data.interactions.by_user()

    assert len(sequences) == 2
    assert sequences.lengths.tolist() == [1, 0]
    assert data.user_details[1].interest_tags == ("jazz",)


def test_items_are_numbered_by_their_first_event_and_then_by_their_file() -> None:
    data = dataset_of([("u", "z", 2), ("u", "m", 1)], items=[Item("a", "never seen"), Item("m", "seen")])

    assert data.items.ids == ("m", "z", "a")
    assert [item.title for item in data.item_details] == ["seen", "", "never seen"]


def test_interactions_out_of_time_order_are_refused() -> None:
    events = dataset_of([("u", "a", 1), ("u", "b", 2)]).interactions

    with pytest.raises(ValueError, match="not in time order"):
        replace(events, times_s=events.times_s[::-1])


def test_columns_of_different_lengths_are_refused() -> None:
    events = dataset_of([("u", "a", 1), ("u", "b", 2)]).interactions

    with pytest.raises(ValueError, match="differ in length"):
        replace(events, values=np.zeros(1, np.float32))


def test_details_that_do_not_match_the_rows_are_refused() -> None:
    data = dataset_of([("u", "a", 1), ("u", "b", 2)])

    with pytest.raises(ValueError, match="2 items but 1 item details"):
        replace(data, item_details=data.item_details[:1])
    with pytest.raises(ValueError, match="1 users but 0 user details"):
        replace(data, user_details=())
