"""No train/serve skew: what the log holds of a slate is what the ranker was given, whatever happened afterwards."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from shared.domain.history import History
from shared.domain.items import User
from shared.domain.ranking import Candidates, RankingRequest
from shared.domain.slates import ServedSlate
from tests.integration.recommendation.real_services import Running, like, logged, now, running


async def test_the_log_holds_every_input_of_the_ranker_to_the_last_bit(tmp_path: Path) -> None:
    async with running(tmp_path) as services:
        given, slate = await _served(services, "ann")

    assert len(given.history) == 12
    assert len(given.candidates) > 20
    assert given.candidates.popularity.max() > 1
    assert _columns(slate.history) == _columns(given.history) | {"event_ids": slate.history.event_ids}
    assert _columns(slate.candidates) == _columns(given.candidates) | _read_by_selection_only(slate.candidates)
    assert (slate.user, slate.context) == (given.user, given.context)
    assert slate.context.time_ms == given.time_ms


async def test_a_slate_of_an_unknown_user_has_its_inputs_too(tmp_path: Path) -> None:
    async with running(tmp_path) as services:
        answer = await services.recommender.recommend(now("nobody"))
        slate = await logged(services, answer.recommendation_id)

    given = services.ranking.requests[-1]
    assert len(given.history) == 0
    assert _columns(slate.history) == _columns(given.history)
    assert _columns(slate.candidates) == _columns(given.candidates) | _read_by_selection_only(slate.candidates)
    assert (slate.user, slate.context) == (given.user, given.context)


async def _served(services: Running, user_id: str) -> tuple[RankingRequest, ServedSlate]:
    """A slate for a user with a past, read from the log after everything that shaped it has changed."""
    intake = services.feedback.intake
    await intake.upsert_users([User(user_id, ("film-noir",), {"age": 41.0, "member": True})])
    seen = [like(f"mine-{n}", user_id, f"film-{n:03}")._replace(value=n / 3) for n in range(12)]
    others = [like(f"again-{n}-{who}", f"user-{who}", f"film-{n:03}") for n in range(12, 40, 3) for who in range(n)]
    recorded = await intake.record_events([*seen, *others])
    query = now(user_id, min_watermark=recorded.watermark)
    query = replace(query, context=replace(query.context, locale="de-CH", device="tv", attributes={"room": "kitchen"}))
    answer = await services.recommender.recommend(query)

    await intake.record_events([like(f"later-{n}", user_id, f"film-{n:03}") for n in range(40)])
    await intake.upsert_users([User(user_id)])
    return services.ranking.requests[-1], await logged(services, answer.recommendation_id)


def _columns(of: History | Candidates) -> dict[str, object]:
    """Every column by name, arrays as their bytes."""
    columns = {field.name: getattr(of, field.name) for field in fields(of)}
    return {name: column.tobytes() if isinstance(column, np.ndarray) else column for name, column in columns.items()}


def _read_by_selection_only(candidates: Candidates) -> dict[str, object]:
    """Columns that are logged for the rules of the surface: the ranker is asked without them."""
    return {"creator_ids": candidates.creator_ids, "primary_categories": candidates.primary_categories}
