"""What must not be shown, in execution order. Each filter says which rows stay and which go.

| filter    | removes                                                                              |
|-----------|--------------------------------------------------------------------------------------|
| consumed  | items that the user consumed within the kept history                                 |
| hidden    | items that the user hid                                                              |
| excluded  | items that the request excludes                                                      |
| served    | items of the latest slates (a session: impressions), as many as the surface says      |
| catalogue | what the catalogue does not hold: deleted, or (but for the caller's own) unknown      |
| available | items outside their availability window at the moment of the request                 |
| wanted    | items outside the request's categories and attribute conditions                      |
| blocked   | what a rule of the surface blocks                                                     |

The first four need ids alone and run before the items are read.
"""

from __future__ import annotations

from collections.abc import Callable

from services.recommendation.business_rules import Deed, working
from services.recommendation.queries import Query
from services.recommendation.slate import Pool, Viewer
from services.recommendation.stages import Filter, Split
from shared.domain.conditions import ItemFilter, available
from shared.domain.user_state import ItemState, ItemStatus


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


class CatalogueFilter:
    """Removes what the catalogue does not hold. Unknown items stay among the caller's own candidates."""

    name = "catalogue"

    def split(self, query: Query, _viewer: Viewer, pool: Pool) -> Split:
        """Keeps what is present, and what could not be read."""
        kept = {ItemStatus.PRESENT} | ({ItemStatus.NOT_FOUND} if query.candidate_item_ids else set())
        return Split.by((state is None or state.status in kept for state in pool.states), len(pool))


class AvailabilityFilter:
    """Removes items outside their availability window."""

    name = "available"

    def split(self, query: Query, _viewer: Viewer, pool: Pool) -> Split:
        """Keeps what is available at the moment of the request, and what has no content to tell."""
        time_ms = query.time_ms
        return Split.by((_content_allows(state, time_ms) for state in pool.states), len(pool))


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


def served_lately(query: Query, viewer: Viewer) -> frozenset[str]:
    """Items of the latest slates, as many as the surface does not want to see again."""
    return frozenset(viewer.served[: query.configuration.surface.exclude_latest_served])


def id_filters() -> tuple[Filter, ...]:
    """The filters that need no items, in order."""
    return (
        IdFilter("consumed", lambda _query, viewer: viewer.consumed),
        IdFilter("hidden", lambda _query, viewer: viewer.hidden),
        IdFilter("excluded", lambda query, _viewer: query.filter.exclude_item_ids),
        IdFilter("served", served_lately),
    )


def item_filters() -> tuple[Filter, ...]:
    """The filters that need the items, in order."""
    return (CatalogueFilter(), AvailabilityFilter(), WantedFilter(), BlockedFilter())


def _content_allows(state: ItemState | None, time_ms: int) -> bool:
    return state is None or state.item is None or available(state.item, time_ms)


def _fulfils(wanted: ItemFilter, state: ItemState, time_ms: int) -> bool:
    return state.item is not None and wanted.allows(state.item, time_ms)
