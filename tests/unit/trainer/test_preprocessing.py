"""Cleaning changes what it says and says what it changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.trainer.datasets import DatasetError
from services.trainer.preprocessing import CleaningOptions, clean, core_mask, occurrences
from shared.domain.items import Item, User
from shared.model.text_form import normalised_item, normalised_text
from tests.unit.trainer.data_worlds import dataset_of, random_dataset

UNTOUCHED = CleaningOptions(drop_duplicates=False, normalise_text=False)


def test_only_events_equal_in_everything_are_duplicates() -> None:
    data = dataset_of([("u", "a", 1), ("u", "a", 1), ("v", "a", 1), ("u", "a", 2), ("u", "b", 1), ("u", "a", 1)])

    cleaned, report = clean(data, CleaningOptions())

    assert len(cleaned.interactions) == 4
    assert [(change.step, change.count) for change in report.changes] == [("dropped repeated events", 2)]
    assert report.changes[0].examples[0] == "user u, item a, time 1"


def test_another_value_makes_another_event() -> None:
    events = dataset_of([("u", "a", 1)] * 4).interactions
    events = replace(events, values=np.array([1, np.nan, np.nan, 1], dtype=np.float32))

    assert occurrences(events).tolist() == [0, 0, 1, 1]


def test_the_k_core_drops_again_until_everybody_has_enough() -> None:
    # v falls for lack of events, then b for lack of users, then w.
    data = dataset_of(
        [("u1", "a", 1), ("u1", "c", 2), ("u2", "a", 3), ("u2", "c", 4), ("v", "b", 5), ("w", "b", 6), ("w", "a", 7)],
        items=[Item("a", "kept"), Item("never seen")],
    )

    cleaned, report = clean(data, replace(UNTOUCHED, min_user_events=2, min_item_events=2))

    assert cleaned.users.ids == ("u1", "u2")
    assert cleaned.items.ids == ("a", "c")
    assert cleaned.item_details[0].title == "kept"
    assert report.changes[0].count == 3


def test_every_user_and_item_of_a_core_has_enough_events() -> None:
    events = random_dataset(np.random.default_rng(1)).interactions

    core = events.take(core_mask(events, 11, 12))

    assert 0 < len(core) < len(events)
    assert min(np.bincount(core.user_rows)[np.unique(core.user_rows)]) >= 11
    assert min(np.bincount(core.item_rows)[np.unique(core.item_rows)]) >= 12


def test_an_empty_core_is_one_error() -> None:
    with pytest.raises(DatasetError, match="no event of world is left when users need 5 events"):
        clean(dataset_of([("u", "a", 1)]), replace(UNTOUCHED, min_user_events=5))


def test_text_is_normalised_and_ids_are_not() -> None:
    item = Item(
        " id ", "  Cafe\u0301\u0000  noir ", categories=("Drama ", "Drama", ""), attributes={"note": " ", "n": 1.0}
    )
    data = dataset_of([("u", " id ", 1)], items=[item], users=[User("u", ("jazz", " jazz"))])

    cleaned, report = clean(data, CleaningOptions())

    assert cleaned.item_details[0] == Item(" id ", "Caf\u00e9 noir", categories=("Drama",), attributes={"n": 1.0})
    assert cleaned.user_details[0].interest_tags == ("jazz",)
    assert [(change.step, change.count, change.examples) for change in report.changes] == [
        ("normalised the text of items", 1, (" id ",)),
        ("normalised the text of users", 1, ("u",)),
    ]


def test_clean_data_come_back_unchanged_with_an_empty_report() -> None:
    data = dataset_of([("u", "a", 1), ("v", "b", 2)], items=[Item("a", "Heat", attributes={"year": 1995.0})])

    cleaned, report = clean(data, CleaningOptions())

    assert report.changes == ()
    assert cleaned.item_details == data.item_details
    np.testing.assert_array_equal(cleaned.interactions.item_rows, data.interactions.item_rows)


def test_letters_of_every_language_stay() -> None:
    assert (
        normalised_text("  \u6771\u4eac\u3000\u7269\u8a9e\n\u041c\u0438\u0440 ")
        == "\u6771\u4eac \u7269\u8a9e \u041c\u0438\u0440"
    )


def test_an_item_that_needs_nothing_is_the_same_object() -> None:
    item = Item("a", "Heat", tags=("x",))

    assert normalised_item(item) is item
