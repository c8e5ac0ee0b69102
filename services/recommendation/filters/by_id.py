"""What the ids alone forbid."""

from __future__ import annotations

from collections.abc import Callable

from services.recommendation.queries import Query
from services.recommendation.slate import Pool, Viewer
from services.recommendation.stages import Split


class IdFilter:
    """Removes the candidates whose ids are in a set that belongs to the request."""

    def __init__(self, name: str, forbidden: Callable[[Query, Viewer], frozenset[str]]) -> None:
        self.name = name
        self._forbidden = forbidden

    def split(self, query: Query, viewer: Viewer, pool: Pool) -> Split:
        """Keeps what is not forbidden."""
        forbidden = self._forbidden(query, viewer)
        if forbidden.isdisjoint(pool.item_ids):
            return Split.nothing_removed(len(pool))
        return Split.by((item_id not in forbidden for item_id in pool.item_ids), len(pool))


def served_lately(query: Query, viewer: Viewer) -> frozenset[str]:
    """Items of the latest slates, as many as the surface does not want to see again."""
    return frozenset(viewer.served[: query.configuration.surface.exclude_latest_served])
