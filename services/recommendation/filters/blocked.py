"""What a rule of the surface blocks."""

from __future__ import annotations

from services.recommendation.business_rules import Deed, working
from services.recommendation.queries import Query
from services.recommendation.slate import Pool, Viewer
from services.recommendation.stages import Split


class BlockedFilter:
    """Removes what the surface's rules block. Where the catalogue could not be read, only blocked ids are known."""

    name = "blocked"

    def split(self, query: Query, _viewer: Viewer, pool: Pool) -> Split:
        """Keeps what no rule blocks."""
        rules = working(query.configuration.surface.rules, query.time_ms, Deed.BLOCK)
        if not rules:
            return Split.nothing_removed(len(pool))
        states = pool.states or (None,) * len(pool)
        items = (state.item if state is not None else None for state in states)
        pairs = zip(pool.item_ids, items, strict=True)
        return Split.by((not any(rule.names(*pair) for rule in rules) for pair in pairs), len(pool))
