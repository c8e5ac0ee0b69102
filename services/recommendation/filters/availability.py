"""What is not available at the moment of the request."""

from __future__ import annotations

from services.recommendation.queries import Query
from services.recommendation.slate import Pool, Viewer
from services.recommendation.stages import Split
from shared.domain.conditions import available
from shared.domain.user_state import ItemState


class AvailabilityFilter:
    """Removes items outside their availability window."""

    name = "available"

    def split(self, query: Query, _viewer: Viewer, pool: Pool) -> Split:
        """Keeps what is available at the moment of the request, and what has no content to tell."""
        time_ms = query.time_ms
        return Split.by((_content_allows(state, time_ms) for state in pool.states), len(pool))


def _content_allows(state: ItemState | None, time_ms: int) -> bool:
    return state is None or state.item is None or available(state.item, time_ms)
