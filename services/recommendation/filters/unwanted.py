"""What the user has blocked: creators, categories and tags."""

from __future__ import annotations

from services.recommendation.queries import Query
from services.recommendation.slate import Pool, Viewer
from services.recommendation.stages import Split
from shared.domain.user_state import ItemState


class UnwantedFilter:
    """Removes the items of blocked creators, categories and tags.

    Whether an item is one of them stands in its content: what could not be read, or is not known, stays.
    """

    name = "unwanted"

    def split(self, _query: Query, viewer: Viewer, pool: Pool) -> Split:
        """Keeps what has nothing that the user blocked."""
        if not viewer.blocked:
            return Split.nothing_removed(len(pool))
        return Split.by((not _is_of(state, viewer.blocked) for state in pool.states), len(pool))


def _is_of(state: ItemState | None, blocked: frozenset[str]) -> bool:
    if state is None or state.item is None:
        return False
    item = state.item
    return item.creator_id in blocked or not blocked.isdisjoint(item.categories) or not blocked.isdisjoint(item.tags)
