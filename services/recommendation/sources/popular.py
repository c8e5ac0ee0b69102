"""What many like: stands in where candidate generation leaves a page short, and goes on to the end of its lists.

Only what somebody consumed is in them. Items that nobody has touched come from candidate generation alone (`fresh`): to
look through the whole catalogue for them, request after request, would take the feature store down as well.
"""

from __future__ import annotations

import asyncio

from services.recommendation.budget import Budget
from services.recommendation.guarded import Guarded
from services.recommendation.interleaving import interleaved
from services.recommendation.memory import Memory
from services.recommendation.slate import Pool
from services.recommendation.stages import Found, Wish
from shared.domain.services import TOP_ITEMS_LISTED, Features
from shared.domain.user_state import TopOrder

FAVOURITE_CATEGORIES = 3

List = tuple[str, TopOrder, str]
"""The name under which its items are known, its order, its category."""


class PopularSource:
    """What many like: overall, and in the categories that were asked for or that the user prefers."""

    name = "popular"

    def __init__(self, features: Guarded[Features], memory: Memory) -> None:
        self._features = features
        self._memory = memory

    async def find(self, wish: Wish, budget_ms: float) -> Found:
        """The lists, merged, the best of each first; whoever asks again gets what stands behind that in them."""
        budget, lists = Budget.of(budget_ms), _lists(wish)
        known = Pool() if wish.places else self._memory.neighbours(wish.viewer.history)
        while pending := [each for each in lists if wish.places.get(str(each)) != ""]:
            pools = await asyncio.gather(*(self._page(each, wish, budget) for each in pending))
            found = interleaved(known, *pools)
            if len(found.without(wish.beyond)):
                return Found(found)
        return Found(known)

    async def _page(self, wanted: List, wish: Wish, budget: Budget) -> Pool:
        source, order, category = wanted
        token = wish.places.get(str(wanted), "")
        limit = TOP_ITEMS_LISTED if token else _first_page(wish)
        top = await self._features.ask(
            lambda port: port.top_items(order, category=category, limit=limit, page_token=token), budget.remaining_ms
        )
        wish.places[str(wanted)] = top.next_page_token
        return Pool.of(source, top.item_ids, top.scores)


def _lists(wish: Wish) -> tuple[List, ...]:
    affinities = wish.viewer.affinities
    favourites = sorted(affinities, key=lambda name: (-affinities[name], name))[:FAVOURITE_CATEGORIES]
    categories = sorted(wish.query.filter.include_categories) or favourites
    overall = (("trending", TopOrder.TRENDING, ""), ("popular", TopOrder.POPULAR, ""))
    return (*overall, *(("interests", TopOrder.POPULAR, category) for category in categories))


def _first_page(wish: Wish) -> int:
    """Enough to fill the page in spite of what must not come back; what else is removed, later pages make up for."""
    query, viewer = wish.query, wish.viewer
    seen = len(viewer.consumed) + len(viewer.hidden) + len(query.filter.exclude_item_ids) + len(wish.beyond)
    return min(2 * query.page_size + seen, TOP_ITEMS_LISTED)
