"""What many like."""

from __future__ import annotations

import asyncio

from services.recommendation.guarded import Guarded
from services.recommendation.interleaving import interleaved
from services.recommendation.memory import Memory
from services.recommendation.slate import Pool
from services.recommendation.stages import Found, Wish
from shared.domain.services import TOP_ITEMS_LISTED, Features
from shared.domain.user_state import TopOrder

FAVOURITE_CATEGORIES = 3


class PopularSource:
    """What many like: overall, and in the categories that were asked for or that the user prefers."""

    name = "popular"

    def __init__(self, features: Guarded[Features], memory: Memory) -> None:
        self._features = features
        self._memory = memory

    async def find(self, wish: Wish, budget_ms: float) -> Found:
        """The lists, merged: the best of each first."""
        query, viewer = wish.query, wish.viewer
        seen = len(viewer.consumed) + len(viewer.hidden) + len(query.filter.exclude_item_ids) + len(wish.beyond)
        limit = min(2 * query.page_size + seen, TOP_ITEMS_LISTED)
        favourites = sorted(viewer.affinities, key=lambda name: (-viewer.affinities[name], name))[:FAVOURITE_CATEGORIES]
        categories = sorted(query.filter.include_categories) or favourites
        lists = [("trending", TopOrder.TRENDING, ""), ("popular", TopOrder.POPULAR, "")]
        lists += [("interests", TopOrder.POPULAR, category) for category in categories]
        pools = await asyncio.gather(*(self._top(*each, limit, budget_ms) for each in lists))
        return Found(interleaved(self._memory.neighbours(viewer.history), *pools))

    async def _top(self, source: str, order: TopOrder, category: str, limit: int, budget_ms: float) -> Pool:
        top = await self._features.ask(lambda port: port.top_items(order, category=category, limit=limit), budget_ms)
        return Pool.of(source, top.item_ids, top.scores)
