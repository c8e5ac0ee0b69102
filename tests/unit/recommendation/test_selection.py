"""The order of a slate: value first, damped by repetition, capped, negative and broken scores last."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommendation.business_rules import BusinessRule
from services.recommendation.selection import CAP_RULE, CATEGORY_RULE, CREATOR_RULE, LIKENESS_RULE, order
from services.recommendation.surface import Caps, Diversity, Surface
from shared.domain.slates import Labels
from tests.unit.recommendation.columns import candidates_of, scores_of

_VALUES = st.floats(-10, 10).map(lambda value: round(value, 9))
PLAIN = Surface(weights={"click": 1})
CREATORS = Surface(weights={"click": 1}, diversity=Diversity(creator_decay=0.5, creator_floor=0.2))
CATEGORIES = Surface(weights={"click": 1}, diversity=Diversity(category_decay=0.5))
ONE_EACH = Surface(weights={"click": 1}, caps=Caps(per_creator=1))


def test_without_rules_the_order_is_that_of_the_values() -> None:
    chosen = order(candidates_of(4), scores_of([0.1, 0.4, -1.0, 0.2]), PLAIN, 10)

    assert chosen.rows.tolist() == [1, 3, 0, 2]
    assert chosen.adjustments == ()


def test_ties_keep_the_order_of_the_merge() -> None:
    for surface in (PLAIN, CREATORS):
        chosen = order(candidates_of(5), scores_of([0.5] * 5), surface, 10)

        assert chosen.rows.tolist() == [0, 1, 2, 3, 4]


def test_each_further_entry_of_a_creator_is_worth_less_down_to_the_floor() -> None:
    chosen = order(candidates_of(4, creators=["a"] * 4), scores_of([1.0, 1.0, 1.0, 1.0]), CREATORS, 10)

    assert chosen.values[chosen.rows].tolist() == [1.0, 0.5, 0.25, 0.2]
    assert [name for name, _ in chosen.adjustments] == [CREATOR_RULE]


def test_another_creator_comes_before_a_better_entry_of_the_same() -> None:
    chosen = order(candidates_of(3, creators=["a", "a", "b"]), scores_of([1.0, 0.9, 0.6]), CREATORS, 10)

    assert chosen.rows.tolist() == [0, 2, 1]


def test_entries_without_a_creator_never_count_as_repeats() -> None:
    chosen = order(candidates_of(3), scores_of([1.0, 0.9, 0.8]), CREATORS, 10)

    assert chosen.values.tolist() == [1.0, 0.9, 0.8]


def test_categories_are_damped_as_creators_are() -> None:
    chosen = order(candidates_of(3, categories=["x", "x", "y"]), scores_of([1.0, 0.9, 0.6]), CATEGORIES, 10)

    assert chosen.rows.tolist() == [0, 2, 1]
    assert [name for name, _ in chosen.adjustments] == [CATEGORY_RULE]


def test_damping_makes_a_negative_value_worse() -> None:
    chosen = order(candidates_of(2, creators=["a", "a"]), scores_of([-1.0, -1.0]), CREATORS, 10)

    assert chosen.values[chosen.rows].tolist() == [-1.0, -2.0]


def test_a_capped_creator_waits_until_everything_else_had_its_turn() -> None:
    chosen = order(candidates_of(4, creators=["a", "a", "b", "c"]), scores_of([4.0, 3.0, 2.0, 1.0]), ONE_EACH, 10)

    assert chosen.rows.tolist() == [0, 2, 3, 1]


def test_what_a_cap_held_back_is_worth_no_more_than_the_entry_above() -> None:
    chosen = order(candidates_of(3, creators=["a", "a", "b"]), scores_of([4.0, 3.0, 1.0]), ONE_EACH, 10)

    (rule, factors), *_ = [each for each in chosen.adjustments if each[0] == CAP_RULE]
    assert rule == CAP_RULE
    assert chosen.values[1] == 1.0
    assert factors[1] == 1 / 3


def test_a_capped_positive_entry_stands_above_a_negative_one() -> None:
    chosen = order(candidates_of(3, creators=["a", "a", "b"]), scores_of([4.0, 3.0, -1.0]), ONE_EACH, 10)

    assert chosen.rows.tolist() == [0, 1, 2]


def test_a_candidate_without_a_finite_score_stands_behind_negative_ones() -> None:
    for surface in (PLAIN, CREATORS):
        chosen = order(candidates_of(3), scores_of([-3.0, -2.0, 1.0], sunk=[1]), surface, 10)

        assert chosen.rows.tolist() == [2, 0, 1]


def test_a_decay_that_hardly_damps_is_no_more_work_than_any_other() -> None:
    hardly = Surface(weights={"click": 1}, diversity=Diversity(creator_decay=1 - 1e-15, creator_floor=0.01))

    chosen = order(candidates_of(3, creators=["a"] * 3), scores_of([3.0, 2.0, 1.0]), hardly, 10)

    assert chosen.rows.tolist() == [0, 1, 2]


def test_an_entry_like_one_above_is_worth_less_by_the_strength_of_mmr() -> None:
    surface = Surface(weights={"click": 1}, diversity=Diversity(mmr_strength=0.5))
    labels = labelled({"category:war": [0, 1], "tag:navy": [0, 1, 2], "category:love": [3]})

    chosen = order(candidates_of(4), scores_of([1.0, 0.9, 0.8, 0.4]), surface, 10, labels)

    assert chosen.rows.tolist() == [0, 2, 1, 3]
    assert chosen.values.tolist() == pytest.approx([1.0, 0.45, 0.8 * (1 - 0.5 * 0.5**0.5), 0.4])
    assert [name for name, _ in chosen.adjustments] == [LIKENESS_RULE]


def test_mmr_of_no_strength_and_items_without_labels_leave_the_values() -> None:
    strong = Surface(weights={"click": 1}, diversity=Diversity(mmr_strength=0.9))
    labels = labelled({"category:war": [0, 1]})

    assert order(candidates_of(3), scores_of([3.0, 2.0, 1.0]), PLAIN, 10, labels).rows.tolist() == [0, 1, 2]
    assert order(candidates_of(3), scores_of([3.0, 2.0, 1.0]), strong, 10).values.tolist() == [3.0, 2.0, 1.0]


def test_more_strength_never_makes_a_page_less_diverse() -> None:
    categories = {f"category:{name}": list(range(start, 40, 4)) for start, name in enumerate("abcd")}
    values = [1.0 - 0.001 * row if row % 4 == 0 else 0.6 - 0.001 * row for row in range(40)]

    def kinds(strength: float) -> int:
        surface = Surface(weights={"click": 1}, diversity=Diversity(mmr_strength=strength))
        rows = order(candidates_of(40), scores_of(values), surface, 8, labelled(categories)).rows[:8]
        return len({row % 4 for row in rows.tolist()})

    counts = [kinds(strength) for strength in (0.0, 0.2, 0.5, 0.9)]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] == 4


def test_a_cap_on_an_attribute_holds_back_the_same_value_of_it() -> None:
    surface = Surface(weights={"click": 1}, caps=Caps(per_attribute={"language": 1, "studio": 0}))
    labels = labelled({"attribute:language='de'": [0, 1], "attribute:language='fr'": [2]})

    chosen = order(candidates_of(4), scores_of([4.0, 3.0, 2.0, 1.0]), surface, 10, labels)

    assert chosen.rows.tolist() == [0, 2, 3, 1]


def test_no_candidates_are_in_no_order() -> None:
    assert order(candidates_of(0), scores_of([]), CREATORS, 10).rows.tolist() == []


@given(data=st.data())
def test_every_candidate_comes_once_and_values_never_rise(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 120))
    keys = st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=count, max_size=count)
    creators, categories = data.draw(keys), data.draw(keys)
    values = data.draw(st.lists(_VALUES, min_size=count, max_size=count))
    surface = data.draw(_surfaces())

    chosen = order(
        candidates_of(count, creators, categories), scores_of(values), surface, data.draw(st.integers(1, 70))
    )

    along = chosen.values[chosen.rows]
    assert sorted(chosen.rows.tolist()) == list(range(count))
    assert (np.diff(along) <= 0).all()
    assert ((along < 0) == (np.array(values)[chosen.rows] < 0)).all(), "a rule never changes a value's sign"


@given(data=st.data())
def test_adjustments_multiply_up_to_the_final_value(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 60))
    creators = data.draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    values = np.array(data.draw(st.lists(_VALUES, min_size=count, max_size=count)))

    chosen = order(candidates_of(count, creators), scores_of(values.tolist()), data.draw(_surfaces()), 10)

    product = values.copy()
    for _, factors in chosen.adjustments:
        product *= factors
    np.testing.assert_allclose(product, chosen.values, rtol=1e-9, atol=1e-12)


@given(data=st.data())
def test_the_first_entries_are_those_that_looking_at_all_candidates_each_time_finds(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    creators = data.draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    values = data.draw(st.lists(_VALUES.map(abs), min_size=count, max_size=count, unique=True))

    chosen = order(candidates_of(count, creators), scores_of(values), CREATORS, 10)

    assert chosen.rows.tolist() == _eager(values, creators, CREATORS.diversity)


@given(data=st.data())
def test_with_every_rule_at_once_signs_stay_and_factors_multiply_up(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    values = data.draw(st.lists(_VALUES, min_size=count, max_size=count))
    some_rows = st.lists(st.integers(0, count - 1), min_size=1, unique=True)
    names = ("category:a", "category:b", "tag:t", "attribute:n=1.0", "rule:up", "rule:down")
    labels = labelled({name: data.draw(some_rows) for name in names})
    surface = Surface(
        weights={"click": 1},
        diversity=Diversity(creator_decay=0.7, mmr_strength=data.draw(st.floats(0, 0.99))),
        caps=Caps(per_attribute={"n": data.draw(st.integers(0, 3))}),
        rules=(
            BusinessRule(name="up", do="boost", items=("any",), factor=3),
            BusinessRule(name="down", do="bury", items=("any",), factor=0.25),
        ),
    )
    creators = data.draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))

    chosen = order(candidates_of(count, creators), scores_of(values), surface, 10, labels)

    along = chosen.values[chosen.rows]
    product = np.array(values)
    for _, factors in chosen.adjustments:
        product *= factors
    assert sorted(chosen.rows.tolist()) == list(range(count))
    assert (np.diff(along) <= 0).all()
    assert ((along < 0) == (np.array(values)[chosen.rows] < 0)).all(), "a rule never changes a value's sign"
    np.testing.assert_allclose(product, chosen.values, rtol=1e-9, atol=1e-12)


def labelled(rows: dict[str, list[int]]) -> Labels:
    """Labels on these rows."""
    return Labels(tuple(rows), tuple(np.array(each, np.int32) for each in rows.values()))


def _eager(values: list[float], creators: list[str], diversity: Diversity) -> list[int]:
    """The oracle: at each place, look at every candidate that is left."""
    left, rows = set(range(len(values))), []
    while left:
        shown = [creators[row] for row in rows]

        def worth(row: int, shown: list[str] = shown) -> float:
            repeats = shown.count(creators[row])
            return values[row] * (max(diversity.creator_decay**repeats, diversity.creator_floor) if repeats else 1.0)

        best = min(left, key=lambda row: (-worth(row), row))
        rows.append(best)
        left.discard(best)
    return rows


def _surfaces() -> st.SearchStrategy[Surface]:
    shares = st.floats(0.05, 1)
    diversity = st.builds(
        Diversity, creator_decay=shares, creator_floor=shares, category_decay=shares, category_floor=shares
    )
    caps = st.builds(Caps, per_creator=st.integers(0, 3), per_category=st.integers(0, 3))
    return st.builds(Surface, weights=st.just({"click": 1}), diversity=diversity, caps=caps)
