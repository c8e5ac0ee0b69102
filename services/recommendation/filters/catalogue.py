"""What the catalogue does not hold."""

from __future__ import annotations

from services.recommendation.queries import Query
from services.recommendation.slate import Pool, Viewer
from services.recommendation.stages import Split
from shared.domain.user_state import ItemStatus


class CatalogueFilter:
    """Removes what the catalogue does not hold. Unknown items stay among the caller's own candidates."""

    name = "catalogue"

    def split(self, query: Query, _viewer: Viewer, pool: Pool) -> Split:
        """Keeps what is present, and what could not be read."""
        kept = {ItemStatus.PRESENT} | ({ItemStatus.NOT_FOUND} if query.candidate_item_ids else set())
        return Split.by((state is None or state.status in kept for state in pool.states), len(pool))
