"""Histories and items as arrays: what is known, what is not, and what is out of range."""

from __future__ import annotations

import numpy as np
import pytest

from shared.domain.events import EventType
from shared.domain.history import History
from shared.domain.items import Item
from shared.domain.vocabulary import UNKNOWN_ROW, Vocabulary
from shared.model.encoding import EVENT_CODES, GAP_BINS, VALUE_BINS, ValueScale, gap_bins, pack_histories
from shared.model.item_features import Bags, ItemFeaturizer

RATINGS = ValueScale.fit(np.full(100, EventType.RATING), np.tile(np.array([1, 2, 3, 4, 5], np.float32), 20))


def codes(kind: int, *values: float) -> list[int]:
    return RATINGS.codes(np.full(len(values), kind), np.array(values, np.float32)).tolist()


def test_a_higher_rating_never_has_a_lower_code() -> None:
    found = codes(EventType.RATING, 0, 1, 2, 3, 4, 5, 99)

    assert found == sorted(found)
    assert found[1] < found[3] < found[5]


def test_no_value_has_a_code_of_its_own() -> None:
    without, low = codes(EventType.RATING, np.nan, 1)

    assert without == EventType.RATING * (VALUE_BINS + 1)
    assert without != low
    assert codes(EventType.RATING, np.inf, -np.inf) == [without, without]


def test_kinds_without_values_in_the_training_data_take_any_value() -> None:
    assert len(set(codes(EventType.DWELL, 0, 1, 1e9))) == 1


@pytest.mark.parametrize("kind", [-5, 16, 99, 2**30])
def test_an_event_type_of_the_future_counts_as_unspecified(kind: int) -> None:
    assert codes(kind, np.nan) == codes(EventType.UNSPECIFIED, np.nan)


def test_every_code_has_a_place_in_the_table() -> None:
    found = RATINGS.codes(np.repeat(np.arange(16), 3), np.tile(np.array([np.nan, 0, 1e9], np.float32), 16))

    assert found.min() >= 0
    assert found.max() < EVENT_CODES


def test_gaps_start_anew_with_each_history_and_never_leave_their_bins() -> None:
    times_ms = np.array([0, 1000, 4000, 5, 5, 4, 10**15], np.int64)

    bins = gap_bins(times_ms, np.array([0, 3, 7]))

    assert bins.tolist() == [0, 1, 2, 0, 0, 0, GAP_BINS - 1]


def test_histories_are_packed_with_their_latest_events_and_unknown_items() -> None:
    history = _history(["a", "b", "new", "a"])

    packed = pack_histories([history, History.empty(), history.latest(1)], Vocabulary("ab"), RATINGS, limit=3)

    assert packed.offsets.tolist() == [0, 3, 3, 4]
    assert packed.item_rows.tolist() == [1, UNKNOWN_ROW, 0, 0]


def test_no_histories_are_an_empty_batch() -> None:
    assert len(pack_histories([], Vocabulary("ab"), RATINGS, limit=3)) == 0


def test_items_of_the_same_making_have_the_same_features() -> None:
    films = [_film(f"{row}", "horror" if row % 2 else "comedy") for row in range(10)]
    featurizer = ItemFeaturizer.fit(films, limit=100)

    old, new = featurizer.bags(films[:1]), featurizer.bags([_film("new", "comedy")])

    assert np.array_equal(old.ids, new.ids)


def test_a_feature_of_one_item_or_of_the_future_is_left_out() -> None:
    films = [_film(f"{row}", "comedy") for row in range(5)] + [_film("odd", "western")]
    featurizer = ItemFeaturizer.fit(films, limit=100)

    assert "category:western" not in featurizer.names
    assert "category:comedy" in featurizer.names
    assert len(featurizer.bags([Item("bare", categories=("musical",))]).ids) == 0


def test_the_most_frequent_features_are_kept_when_there_are_too_many() -> None:
    films = [Item(f"{row}", categories=("all", "half") if row % 2 else ("all",)) for row in range(10)]

    assert ItemFeaturizer.fit(films, limit=1).names.ids == ("category:all",)


def test_numbers_are_cut_at_the_quantiles_of_the_training_data() -> None:
    films = [Item(f"{row}", attributes={"year": 1900.0 + row}) for row in range(100)]
    featurizer = ItemFeaturizer.fit(films, limit=100)

    early, near, late = (
        featurizer.bags([Item("x", attributes={"year": year})]).ids for year in (1901.0, 1903.0, 1999.0)
    )

    assert np.array_equal(early, near)
    assert not np.array_equal(early, late)


def test_attributes_that_are_no_numbers_are_features_as_they_are() -> None:
    films = [Item(f"{row}", attributes={"language": "en", "colour": True, "odd": float("nan")}) for row in range(3)]

    names = ItemFeaturizer.fit(films, limit=100).names

    assert "attribute:language=en" in names
    assert "attribute:colour=True" in names


def test_each_group_of_features_weighs_one() -> None:
    films = [Item(f"{row}", title="a b c d", categories=("x", "y")) for row in range(3)]

    bags = ItemFeaturizer.fit(films, limit=100).bags(films[:1])

    assert float((bags.weights**2).sum()) == pytest.approx(2)


def test_bags_of_chosen_rows_keep_their_order_and_unknown_rows_are_empty() -> None:
    bags = Bags(np.array([0, 2, 2, 3]), np.array([5, 6, 7]), np.array([1, 2, 3], np.float32))

    taken = bags.take(np.array([2, UNKNOWN_ROW, 0, 1]))

    assert taken.offsets.tolist() == [0, 1, 1, 3, 3]
    assert taken.ids.tolist() == [7, 5, 6]
    assert taken.weights.tolist() == [3, 1, 2]


def _film(name: str, category: str) -> Item:
    return Item(name, categories=(category,))


def _history(names: list[str]) -> History:
    count = len(names)
    return History(tuple(names), np.full(count, 3, np.int32), np.full(count, np.nan, np.float32), np.arange(count))
