"""Cold start: what is answered while hardly anything is known, with the real services and no bundle.

Fresh items are drawn anew for each request.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from services.recommendation.queries import Answer
from shared.domain.items import Item, User
from shared.kernel.clock import system_clock
from tests.integration.recommendation.real_services import Running, like, now, running
from tests.unit.recommendation.front import ask, item_ids, losses

NO_BUNDLE = {("retriever", "no-bundle"), ("neighbours", "no-bundle")}


async def test_a_new_user_of_whom_nothing_is_known_gets_what_is_popular_and_trending(tmp_path: Path) -> None:
    async with running(tmp_path) as services:
        answer = await services.recommender.recommend(now("new", explain=True))

    assert len(answer.entries) == 10
    assert losses(answer) - NO_BUNDLE == set()
    assert {source.source for entry in answer.entries for source in entry.sources} <= {"popular", "trending", "fresh"}


async def test_a_new_user_who_told_interests_gets_items_of_them_first(tmp_path: Path) -> None:
    async with running(tmp_path) as services:
        services.ranking.keep_retrieval_order = True
        told = await services.feedback.intake.upsert_users([User("new", ("crime",))])
        answer = await services.recommender.recommend(ask("new", min_watermark=told.watermark))
        other = await services.recommender.recommend(ask("other"))

    assert _of(answer, "crime") >= 5
    assert _of(answer, "crime") > _of(other, "crime")
    assert "interests" in {source.source for source in answer.entries[0].sources}


async def test_an_anonymous_session_is_answered_by_its_own_events(tmp_path: Path) -> None:
    seen = tuple(like(f"s-{n}", "", f"film-{n:03}")._replace(user_id="") for n in (1, 5, 9))  # comedies

    async with running(tmp_path) as services:
        services.ranking.keep_retrieval_order = True
        session = replace(ask(""), session_events=seen)
        answer = await services.recommender.recommend(session)
        empty = await services.recommender.recommend(ask(""))

    assert _of(answer, "comedy") > _of(empty, "comedy")
    assert not {"film-001", "film-005", "film-009"} & set(item_ids(answer))
    assert len(empty.entries) == 10


async def test_a_new_item_is_among_the_candidates_at_once_by_being_fresh(tmp_path: Path) -> None:
    new = Item("brand-new", title="Brand new", categories=("war",), created_ms=system_clock())

    async with running(
        tmp_path, films=15
    ) as services:  # fewer than the quota of fresh items: each minute's draw has all
        services.ranking.logits = {"brand-new": (9.0, 9.0, -9.0)}
        await services.feedback.intake.upsert_items([new])
        answer = await _until_first(services, "brand-new")

    assert "fresh" in {source.source for source in answer.entries[0].sources}


async def test_an_empty_catalogue_gives_an_empty_slate_and_its_first_item_the_first_entry(tmp_path: Path) -> None:
    async with running(tmp_path, films=0) as services:
        nothing = await services.recommender.recommend(now("new"))
        await services.feedback.intake.upsert_items([Item("first", created_ms=system_clock())])
        answer = await _until_first(services, "first")

    assert nothing.entries == ()
    assert nothing.next_page_token == ""
    assert losses(nothing) - NO_BUNDLE == set()
    assert item_ids(answer) == ["first"]


def _of(answer: Answer, genre: str) -> int:
    """Films of a genre on the page."""
    genres = ("drama", "comedy", "crime", "war")
    return sum(genres[int(name[-3:]) % 4] == genre for name in item_ids(answer))


async def _until_first(services: Running, item_id: str) -> Answer:
    """Ask until an item comes first: candidate generation reads the catalogue as it changes."""
    async with asyncio.timeout(30):
        while True:
            answer = await services.recommender.recommend(now("new", explain=True))
            if item_ids(answer)[:1] == [item_id]:
                return answer
            await asyncio.sleep(0.02)
