"""The front with the real log, feature store and candidate generation in one process: events change the next slate."""

from __future__ import annotations

from pathlib import Path

from tests.integration.recommendation.real_services import like, logged, now, running
from tests.unit.recommendation.front import item_ids, losses, pages_after


async def test_an_event_changes_the_slate_that_is_asked_for_with_its_watermark(tmp_path: Path) -> None:
    async with running(tmp_path) as services:
        before = await services.recommender.recommend(now())
        recorded = await services.feedback.intake.record_events([like("like", "ann", before.entries[0].item_id)])
        after = await services.recommender.recommend(now(min_watermark=recorded.watermark))

    assert before.entries[0].item_id not in item_ids(after)
    assert losses(after) - {("retriever", "no-bundle"), ("neighbours", "no-bundle")} == set()
    assert len(after.entries) == 10


async def test_pages_are_read_back_from_the_real_log(tmp_path: Path) -> None:
    async with running(tmp_path) as services:
        first = await services.recommender.recommend(now())
        slate = await logged(services, first.recommendation_id)
        pages = await pages_after(services.recommender, now(), first)

    shown = [item_id for page in pages for item_id in item_ids(page)]
    assert len(shown) == len(set(shown)) > 20
    assert set(shown) == set(slate.candidates.item_ids)


async def test_a_slate_of_the_real_log_replays_to_itself(tmp_path: Path) -> None:
    async with running(tmp_path) as services:
        answer = await services.recommender.recommend(now())
        await logged(services, answer.recommendation_id)
        report = await services.recommender.replay(now(), answer.recommendation_id)

    assert report.differences == ()
    assert [entry.item_id for entry in report.replayed] == item_ids(answer)
