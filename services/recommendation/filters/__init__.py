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
| unwanted  | items of the creators, categories and tags that the user blocked                      |
| blocked   | what a rule of the surface blocks                                                     |

The first four need ids alone and run before the items are read.
"""

from __future__ import annotations

from services.recommendation.filters.availability import AvailabilityFilter
from services.recommendation.filters.blocked import BlockedFilter
from services.recommendation.filters.by_id import IdFilter, served_lately
from services.recommendation.filters.catalogue import CatalogueFilter
from services.recommendation.filters.unwanted import UnwantedFilter
from services.recommendation.filters.wanted import WantedFilter
from services.recommendation.stages import Filter

__all__ = ["id_filters", "item_filters", "served_lately"]


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
    return (CatalogueFilter(), AvailabilityFilter(), WantedFilter(), UnwantedFilter(), BlockedFilter())
