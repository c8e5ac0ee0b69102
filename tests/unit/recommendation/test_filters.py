"""Each filter removes what it is for, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.recommendation.filters import id_filters, item_filters
from services.recommendation.slate import Pool, Viewer
from services.recommendation.stages import Filter, Split
from shared.domain.conditions import ItemFilter
from shared.domain.items import Item
from shared.domain.user_state import ItemState, ItemStatus
from tests.unit.recommendation.front import NOW_MS, ask

FILTERS: dict[str, Filter] = {each.name: each for each in (*id_filters(), *item_filters())}


def pool_of(*states: ItemState | None) -> Pool:
    """One candidate a state; `unread-<row>` where there is none."""
    ids = tuple(f"unread-{row}" if state is None else state.item_id for row, state in enumerate(states))
    return Pool(ids, (), states)


def present(item_id: str, **fields: object) -> ItemState:
    """An item of the catalogue."""
    return ItemState(item_id, ItemStatus.PRESENT, Item(item_id, **fields))  # type: ignore[arg-type]


def test_the_filters_stand_in_the_documented_order() -> None:
    by_id = ["consumed", "hidden", "excluded", "served"]

    assert list(FILTERS) == [*by_id, "catalogue", "available", "wanted", "unwanted", "blocked"]


@pytest.mark.parametrize(
    ("name", "viewer", "wanted"),
    [
        ("consumed", Viewer(consumed=frozenset("b")), ItemFilter()),
        ("hidden", Viewer(hidden=frozenset("b")), ItemFilter()),
        ("excluded", Viewer(), ItemFilter(exclude_item_ids=frozenset("b"))),
    ],
)
def test_ids_that_are_forbidden_are_removed(name: str, viewer: Viewer, wanted: ItemFilter) -> None:
    split = FILTERS[name].split(ask(filter=wanted), viewer, Pool(("a", "b", "c")))

    assert (split.kept.tolist(), split.removed.tolist()) == ([0, 2], [1])


def test_served_items_stay_where_the_surface_does_not_say_otherwise() -> None:
    split = FILTERS["served"].split(ask(), Viewer(served=("a", "b")), Pool(("a", "b")))

    assert split.kept.tolist() == [0, 1]


def test_deleted_and_unknown_items_are_removed_and_unread_ones_stay() -> None:
    pool = pool_of(present("a"), ItemState("b", ItemStatus.DELETED), ItemState("c", ItemStatus.NOT_FOUND), None)

    assert FILTERS["catalogue"].split(ask(), Viewer(), pool).kept.tolist() == [0, 3]


def test_unknown_candidates_of_the_caller_stay() -> None:
    pool = pool_of(ItemState("b", ItemStatus.DELETED), ItemState("c", ItemStatus.NOT_FOUND))

    split = FILTERS["catalogue"].split(ask(candidate_item_ids=("b", "c")), Viewer(), pool)

    assert split.kept.tolist() == [1]


def test_items_outside_their_window_are_removed() -> None:
    pool = pool_of(
        present("open"),
        present("not yet", available_from_ms=NOW_MS + 1),
        present("over", available_until_ms=NOW_MS),
        present("just", available_from_ms=NOW_MS, available_until_ms=NOW_MS + 1),
        ItemState("unknown", ItemStatus.NOT_FOUND),
    )

    assert FILTERS["available"].split(ask(), Viewer(), pool).kept.tolist() == [0, 3, 4]


def test_availability_is_judged_at_the_moment_of_the_request() -> None:
    pool = pool_of(present("tomorrow", available_from_ms=NOW_MS + 86_400_000))
    query = ask()
    tomorrow = replace(query, context=replace(query.context, time_ms=NOW_MS + 86_400_000))

    assert FILTERS["available"].split(query, Viewer(), pool).kept.tolist() == []
    assert FILTERS["available"].split(tomorrow, Viewer(), pool).kept.tolist() == [0]


def test_unread_items_pass_the_content_filter_of_retrieval_but_not_as_the_callers_candidates() -> None:
    wanted = ItemFilter(include_categories=frozenset({"drama"}))
    pool = pool_of(present("a", categories=("drama",)), present("b"), ItemState("c", ItemStatus.NOT_FOUND), None)

    retrieved = FILTERS["wanted"].split(ask(filter=wanted), Viewer(), pool)
    given = FILTERS["wanted"].split(ask(filter=wanted, candidate_item_ids=("a",)), Viewer(), pool)

    assert retrieved.kept.tolist() == [0, 3]
    assert given.kept.tolist() == [0]


def test_items_of_a_blocked_creator_category_or_tag_are_removed_and_unread_ones_stay() -> None:
    pool = pool_of(
        present("creator", creator_id="x"),
        present("category", categories=("a", "x")),
        present("tag", tags=("x", "b")),
        present("x", creator_id="y", categories=("a",), tags=("b",)),
        present("nobody's"),
        ItemState("unknown", ItemStatus.NOT_FOUND),
        None,
    )

    split = FILTERS["unwanted"].split(ask(), Viewer(blocked=frozenset({"x"})), pool)

    assert (split.kept.tolist(), split.removed.tolist()) == ([3, 4, 5, 6], [0, 1, 2])


def test_a_split_names_every_row_once() -> None:
    split = Split.by(iter([True, False, True]), 3)

    assert sorted([*split.kept, *split.removed]) == [0, 1, 2]
    assert np.array_equal(Split.nothing_removed(2).kept, [0, 1])
