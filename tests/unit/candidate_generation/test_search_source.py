"""Word search as a source."""

from __future__ import annotations

from typing import Any

import pytest

from services.candidate_generation.sources.search import SearchSource
from shared.domain.conditions import ItemFilter
from shared.domain.items import Item
from tests.unit.candidate_generation.rooms import Room, asked

ITEMS = [
    Item("1", title="Toy Story (1995)", categories=("Animation",)),
    Item("2", title="The Story of Us"),
    Item("3", title="Heat", tags=("story",)),
    Item("4", title="Amélie"),
    Item("5", title="Sunrise", categories=("Animation",)),
]


async def _found(query: str, quota: int = 10, **fields: Any) -> list[str]:
    room = Room(*ITEMS)
    return room.ids(await SearchSource().search(room.query(asked(query_text=query, **fields)), quota))


async def test_the_item_with_all_the_words_comes_first() -> None:
    assert (await _found("toy story"))[0] == "1"


async def test_titles_count_more_than_tags() -> None:
    assert await _found("STORY") == ["1", "2", "3"]


async def test_accents_and_case_do_not_matter() -> None:
    assert await _found("amelie") == ["4"]


async def test_categories_are_found_too() -> None:
    assert sorted(await _found("animation")) == ["1", "5"]


@pytest.mark.parametrize("query", ["nothing like it", "?!", "🦊"])
async def test_words_that_nobody_has_find_nothing(query: str) -> None:
    assert await _found(query) == []


async def test_a_filter_holds_and_the_quota_cuts() -> None:
    wanted = ItemFilter(exclude_item_ids=frozenset({"1"}))

    assert await _found("story", quota=1, filter=wanted) == ["2"]


async def test_it_says_that_it_compares_words_only() -> None:
    room = Room(*ITEMS)

    answer = await SearchSource().search(room.query(asked(query_text="toy")), 1)

    assert [(lost.stage, lost.reason) for lost in answer.degraded] == [("search", "not-installed")]


def test_without_words_it_is_not_asked() -> None:
    room = Room(*ITEMS)

    assert not SearchSource().applies(room.query(asked(query_text="  ")))
    assert SearchSource().applies(room.query(asked(query_text="toy")))
