"""What the surface's rules pin."""

from __future__ import annotations

from services.recommendation.business_rules import Deed, working
from services.recommendation.queries import Query
from services.recommendation.slate import Pool

PINNED = "pinned"


def pinned_items(query: Query) -> Pool:
    """What the surface's pins name, whether a source gave it or not; nothing beside the caller's own candidates."""
    if query.candidate_item_ids:
        return Pool()
    pins = working(query.configuration.surface.rules, query.time_ms, Deed.PIN)
    named = [item_id for rule in pins for item_id in rule.items]
    return Pool.of(PINNED, named) if named else Pool()
