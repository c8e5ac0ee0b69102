"""What the header of an answer says is counted."""

from __future__ import annotations

from prometheus_client import REGISTRY

from services.recommendation.telemetry import observe
from shared.domain.provenance import Degradation, Provenance, StageCount
from tests.unit.recommendation.front import World, ask, opened


def value(name: str, **labels: str) -> float:
    """A metric now; 0 while it does not exist."""
    return REGISTRY.get_sample_value(f"winnow_{name}", labels) or 0.0


def test_candidates_are_counted_by_source_and_what_filters_remove_by_filter() -> None:
    counts = (StageCount("source:a-source", 120), StageCount("filter:a-filter", 120, 20), StageCount("cut", 100, 40))

    observe(Provenance(stage_counts=counts, degraded=(Degradation("a-stage", "a-reason"),)), 60)

    assert value("recommendation_candidates_total", source="a-source") == 120
    assert value("recommendation_filtered_total", filter="a-filter") == 20
    assert value("degraded_total", stage="a-stage", reason="a-reason") == 1


async def test_a_slate_counts_what_was_ranked_for_it_and_whether_it_is_as_long_as_was_asked_for() -> None:
    async with opened(World()) as app:
        before = {name: value(name) for name in ("recommendation_ranked_count", "recommendation_underfilled_total")}
        await app.recommender.recommend(ask("ann"))
        await app.recommender.recommend(ask("ann", page_size=200))

    assert value("recommendation_ranked_count") - before["recommendation_ranked_count"] == 2
    assert value("recommendation_underfilled_total") - before["recommendation_underfilled_total"] == 1
