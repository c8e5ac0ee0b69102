"""What the request does not want."""

from __future__ import annotations

from services.recommendation.queries import Query
from services.recommendation.slate import Pool, Viewer
from services.recommendation.stages import Split
from shared.domain.conditions import ItemFilter
from shared.domain.user_state import ItemState


class WantedFilter:
    """Removes items that do not fulfil the request's categories and conditions.

    An item without an entry in the catalogue fulfils nothing that is asked of content. Where the catalogue could not
    be read, retrieval's own filter has to do; the caller's candidates have passed none, so they go.
    """

    name = "wanted"

    def split(self, query: Query, _viewer: Viewer, pool: Pool) -> Split:
        """Keeps what fulfils them."""
        wanted, unread = query.filter, not query.candidate_item_ids
        if not wanted.needs_content:
            return Split.nothing_removed(len(pool))
        time_ms = query.time_ms
        keep = (unread if state is None else _fulfils(wanted, state, time_ms) for state in pool.states)
        return Split.by(keep, len(pool))


def _fulfils(wanted: ItemFilter, state: ItemState, time_ms: int) -> bool:
    return state.item is not None and wanted.allows(state.item, time_ms)
