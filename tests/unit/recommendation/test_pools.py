"""Candidates on their way: merged, cut, filtered, with their sources."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.recommendation.interleaving import interleaved
from services.recommendation.slate import Pool

names = st.lists(st.sampled_from([f"i{n}" for n in range(12)]), max_size=12)


def test_a_source_that_names_an_item_twice_gives_it_once_at_its_best_rank() -> None:
    pool = Pool.of("popular", ["a", "b", "a", "c"], [4, 3, 2, 1])

    assert pool.item_ids == ("a", "b", "c")
    assert pool.sources[0].scores.tolist() == [4, 3, 1]


def test_taking_rows_moves_the_sources_along() -> None:
    pool = Pool.of("popular", ["a", "b", "c"]).joined(Pool.of("fresh", ["c", "d"])).take(np.array([3, 2]))

    assert pool.item_ids == ("d", "c")
    assert {hits.source: hits.rows.tolist() for hits in pool.sources} == {"popular": [1], "fresh": [1, 0]}


def test_joining_the_same_source_again_appends_what_is_new() -> None:
    pool = Pool.of("popular", ["a", "b"]).joined(Pool.of("popular", ["b", "c"]))

    assert pool.item_ids == ("a", "b", "c")
    assert [hits.rows.tolist() for hits in pool.sources] == [[0, 1, 2]]


def test_a_fair_merge_takes_the_best_of_each_first() -> None:
    pool = interleaved(Pool.of("x", ["a", "b", "c"]), Pool.of("y", ["d", "a", "e", "f"]))

    assert pool.item_ids == ("a", "d", "b", "c", "e", "f")
    assert {hits.source: [pool.item_ids[row] for row in hits.rows] for hits in pool.sources} == {
        "x": ["a", "b", "c"],
        "y": ["d", "a", "e", "f"],
    }


@given(names, names)
def test_a_join_loses_nothing_repeats_nothing_and_keeps_each_sources_order(first: list[str], second: list[str]) -> None:
    one, two = Pool.of("one", first), Pool.of("two", second)

    pool = one.joined(two)

    assert len(set(pool.item_ids)) == len(pool)
    assert set(pool.item_ids) == set(first) | set(second)
    assert pool.item_ids[: len(one)] == one.item_ids
    given_by = {hits.source: tuple(pool.item_ids[row] for row in hits.rows) for hits in pool.sources}
    assert given_by["one"] == one.item_ids
    assert given_by["two"] == two.item_ids


@given(names, st.data())
def test_taking_rows_keeps_exactly_these_with_their_scores(items: list[str], data: st.DataObject) -> None:
    pool = Pool.of("one", items)
    rows = data.draw(st.permutations(range(len(pool)))) if len(pool) else []
    rows = rows[: data.draw(st.integers(0, len(pool)))]

    taken = pool.take(np.array(rows, np.int32))

    before = dict(zip(pool.item_ids, pool.sources[0].scores.tolist(), strict=True))
    after = {
        taken.item_ids[row]: score for row, score in zip(taken.sources[0].rows, taken.sources[0].scores, strict=True)
    }
    assert taken.item_ids == tuple(pool.item_ids[row] for row in rows)
    assert after == {item_id: before[item_id] for item_id in taken.item_ids}
