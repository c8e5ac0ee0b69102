"""The columns that the ranker reads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.recommendation.ranker_inputs import NEW_ITEMS_LIMIT, candidate_columns, new_item_ids
from services.recommendation.slate import Pool
from shared.domain.items import ContentVector, Item
from shared.domain.user_state import ItemState, ItemStatus
from tests.unit.recommendation.front import NOW_MS, World, ask, opened

DAY_MS = 86_400_000


def state(item_id: str, updated: str = "", **fields: object) -> ItemState:
    """An item of the catalogue with some popularity."""
    item = Item(item_id, **fields)  # type: ignore[arg-type]
    return ItemState(item_id, ItemStatus.PRESENT, item, popularity=3.0, trend=1.5, updated_watermark=updated)


def test_scores_and_ranks_of_retriever_and_neighbours_stand_at_their_candidates() -> None:
    pool = Pool.of("retriever", ["a", "b"], [0.9, 0.8]).joined(Pool.of("neighbours", ["c", "a"], [5, 4]))

    columns = candidate_columns(replace(pool, states=(None,) * 3), NOW_MS)

    assert columns.item_ids == ("a", "b", "c")
    assert columns.retrieval_ranks.tolist() == [1, 2, 0]
    assert [round(float(score), 3) for score in columns.retrieval_scores] == [0.9, 0.8, 0.0]
    assert columns.neighbour_ranks.tolist() == [2, 0, 1]
    assert columns.neighbour_scores.tolist() == [4.0, 0.0, 5.0]


def test_what_the_catalogue_knows_becomes_columns() -> None:
    pool = Pool(
        ("a", "b", "c"),
        (),
        (state("a", created_ms=NOW_MS - 2 * DAY_MS, creator_id="x", categories=("war", "drama")), state("b"), None),
    )

    columns = candidate_columns(pool, NOW_MS)

    assert columns.ages_days.tolist() == [2.0, -1.0, -1.0]
    assert columns.popularity.tolist() == [3.0, 3.0, 0.0]
    assert columns.trend.tolist() == [1.5, 1.5, 0.0]
    assert columns.creator_ids == ("x", "", "")
    assert columns.primary_categories == ("war", "", "")


def test_an_item_of_the_future_is_new_and_not_of_negative_age() -> None:
    pool = Pool(("a",), (), (state("a", created_ms=NOW_MS + DAY_MS),))

    assert candidate_columns(pool, NOW_MS).ages_days.tolist() == [0.0]


def test_a_catalogue_that_could_not_be_read_leaves_its_columns_empty() -> None:
    columns = candidate_columns(Pool(("a", "b"), (), (None, None)), NOW_MS)

    assert [len(column) for column in (columns.ages_days, columns.popularity, columns.trend)] == [0, 0, 0]
    assert (columns.creator_ids, columns.primary_categories) == ((), ())


def test_what_was_upserted_after_the_bundles_data_is_new_to_the_ranker() -> None:
    pool = Pool(("a", "b", "c"), (), (state("a", "w1-0.9"), state("b", "w1-0.11"), None))

    assert new_item_ids(pool, "w1-0.10") == ("b",)


def test_where_the_bundles_data_is_not_known_only_what_retrieval_calls_fresh_is_new() -> None:
    pool = Pool.of("retriever", ["a"]).joined(Pool.of("fresh", ["b"]))

    assert new_item_ids(replace(pool, states=(state("a", "w1-0.9"), state("b", "w1-0.11"))), "") == ("b",)


def test_the_content_of_so_many_items_goes_with_one_request_and_no_more() -> None:
    ids = tuple(f"i{n}" for n in range(NEW_ITEMS_LIMIT + 5))
    pool = Pool(ids, (), tuple(state(each, "w1-0.11") for each in ids))

    assert new_item_ids(pool, "w1-0.10") == ids[:NEW_ITEMS_LIMIT]


async def test_the_ranker_gets_the_content_of_items_that_are_newer_than_its_bundle_with_their_vectors() -> None:
    world = World()
    world.ranking.data_watermark = "w1-0.58"  # the catalogue's last two films came after it
    vector = ContentVector("text", "encoder", "hash", np.ones(4, np.float32))
    for film in world.films[58:]:
        known = world.features.states[film.item_id]
        world.features.states[film.item_id] = replace(known, item=replace(film, vectors=(vector,)))

    async with opened(world) as app:
        await app.recommender.recommend(ask(page_size=200))
        await app.recommender.recommend(ask(page_size=200))

    first, second = world.ranking.requests
    assert first.candidates.new_items == {}, "nothing is known of the bundle yet"
    assert set(second.candidates.new_items) == {"film-058", "film-059"}
    assert [item.vectors for item in second.candidates.new_items.values()] == [(vector,)] * 2


async def test_a_data_watermark_of_another_log_is_as_good_as_none() -> None:
    world = World()
    world.ranking.data_watermark = "2024-01-01"

    async with opened(world) as app:
        await app.recommender.recommend(ask())
        answer = await app.recommender.recommend(ask())

    assert len(answer.entries) == 10
    assert world.ranking.requests[-1].candidates.new_items == {}
