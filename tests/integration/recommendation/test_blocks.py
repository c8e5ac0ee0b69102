"""A block goes all the way: from `RecordEvents` through log and feature store to the next slate."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.recommendation.queries import Answer
from shared.domain.events import Event, EventType
from shared.domain.items import Item
from shared.kernel.clock import system_clock
from tests.integration.recommendation.real_services import Running, now, running
from tests.unit.recommendation.front import film, item_ids

FILMS = {film(number).item_id: film(number) for number in range(40)}


def block(target_id: str, event_id: str = "block") -> Event:
    """Ann wants nothing of it."""
    return Event(event_id, "ann", "", EventType.HIDE, system_clock() - 1_000, target_id=target_id)


def shown(answer: Answer) -> list[Item]:
    """The films of a slate."""
    return [FILMS[item_id] for item_id in item_ids(answer)]


async def record(services: Running, event: Event) -> Answer:
    """The whole catalogue, as far as Ann may see it after the event."""
    recorded = await services.feedback.intake.record_events([event])
    assert recorded.refused == {}
    return await services.recommender.recommend(now(min_watermark=recorded.watermark, page_size=40))


@pytest.mark.parametrize("target_id", ["war", "director-3"])
async def test_nothing_of_a_blocked_category_or_creator_is_shown_and_all_else_is(
    tmp_path: Path, target_id: str
) -> None:
    async with running(tmp_path) as services:
        before = await services.recommender.recommend(now(page_size=40))
        after = await record(services, block(target_id))
        of_another = await services.recommender.recommend(now("bob", page_size=40))

    allowed = {film.item_id for film in FILMS.values() if target_id not in (film.creator_id, *film.categories)}
    assert set(item_ids(before)) == set(item_ids(of_another)) == set(FILMS)
    assert set(item_ids(after)) == allowed < set(FILMS)


async def test_a_block_is_there_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as services:
        await record(services, block("war"))
    async with running(tmp_path, films=0) as services:
        after = await services.recommender.recommend(now(page_size=40))

    assert len(after.entries) == 30
    assert "war" not in {category for each in shown(after) for category in each.categories}


async def test_the_block_of_an_anonymous_session_counts_in_its_own_requests(tmp_path: Path) -> None:
    async with running(tmp_path) as services:
        told = (block("war")._replace(user_id=""),)
        after = await services.recommender.recommend(now("", session_id="s", session_events=told, page_size=40))

    assert len(after.entries) == 30
    assert "war" not in {category for each in shown(after) for category in each.categories}
