"""Popular and trending lists, polled from the feature service and read without waiting.

The overall lists are always at hand. A category's lists are fetched when a request first asks for them and kept fresh
while requests go on asking; until they are there, the overall list's items of the category stand in.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from services.candidate_generation.catalogue import NOWHERE, Catalogue
from services.candidate_generation.query import Floats, Query, Slots, SourceAnswer
from shared.domain.provenance import Degradation
from shared.domain.services import Features
from shared.domain.user_state import TopItems, TopOrder
from shared.kernel.clock import Clock
from shared.kernel.errors import ServiceError

_LIMIT = 1000
_MOST_CATEGORY_LISTS = 128
_STALE_AFTER_POLLS = 5
_SHARE_OF_FAVOURITES = 0.5


@dataclass(frozen=True, slots=True)
class Polling:
    """How often lists are fetched, in seconds.

    Attributes:
        overall_seconds: the lists over everything.
        category_seconds: the lists of one category.
    """

    overall_seconds: float = 2.0
    category_seconds: float = 15.0


@dataclass(slots=True)
class _List:
    items: TopItems = field(default_factory=lambda: TopItems((), ()))
    fetched_ms: int = 0
    resolved: tuple[Slots, Floats] | None = None  # slots and scores, as of the catalogue's version
    version: int = -1


class TopLists:
    """The lists as last fetched.

    Args:
        features: where they come from.
        catalogue: to translate ids to slots.
        clock: Unix milliseconds.
        polling: intervals.
    """

    def __init__(self, features: Features, catalogue: Catalogue, clock: Clock, polling: Polling) -> None:
        self._features, self._catalogue, self._clock, self._polling = features, catalogue, clock, polling
        self._overall = {order: _List() for order in (TopOrder.POPULAR, TopOrder.TRENDING)}
        self._categories: OrderedDict[tuple[TopOrder, str], _List] = OrderedDict()

    def stale(self) -> bool:
        """Whether the overall lists are older than they should be, or were never fetched."""
        oldest = min(kept.fetched_ms for kept in self._overall.values())
        return self._clock() - oldest > self._polling.overall_seconds * 1000 * _STALE_AFTER_POLLS

    def overall(self, order: TopOrder) -> tuple[Slots, Floats]:
        """Slots and scores over everything."""
        return self._resolved(self._overall[order])

    def in_category(self, order: TopOrder, category: str) -> tuple[Slots, Floats]:
        """Slots and scores of one category."""
        kept = self._categories.setdefault((order, category), _List())
        self._categories.move_to_end((order, category))
        if len(self._categories) > _MOST_CATEGORY_LISTS:
            self._categories.popitem(last=False)
        if kept.fetched_ms:
            return self._resolved(kept)
        slots, scores = self.overall(order)
        inside = self._catalogue.in_category([category])[slots]
        return slots[inside], scores[inside]

    async def run(self) -> None:
        """Fetch for ever."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._polling.overall_seconds)

    async def refresh(self) -> None:
        """Fetch what is due; a feature service that does not answer leaves the lists as they are."""
        try:
            for order, category, kept in self._due():
                items = await self._features.top_items(order, category=category, limit=_LIMIT)
                kept.items, kept.fetched_ms, kept.resolved = items, self._clock(), None
                await asyncio.sleep(0)  # a feature service of this process never waits: requests go between two lists
        except ServiceError:
            return  # `stale` tells; the next round tries again

    def _due(self) -> Iterator[tuple[TopOrder, str, _List]]:
        for order, kept in self._overall.items():
            yield order, "", kept
        before_ms = self._clock() - self._polling.category_seconds * 1000
        for (order, category), kept in list(self._categories.items()):
            if kept.fetched_ms <= before_ms:
                yield order, category, kept

    def _resolved(self, kept: _List) -> tuple[Slots, Floats]:
        """An item's slot may change between fetches only when it was deleted: then it is left out."""
        if kept.resolved is None or kept.version != self._catalogue.version:
            slots = self._catalogue.slots(kept.items.item_ids)
            present = slots != NOWHERE
            kept.resolved = slots[present], np.array(kept.items.scores, np.float32)[present]
            kept.version = self._catalogue.version
        return kept.resolved


def best_of_lists(lists: TopLists, order: TopOrder, query: Query, quota: int) -> SourceAnswer:
    """The best eligible items of the overall list and of the user's favourite categories, by count.

    Half of the quota is kept for the favourites, so that a small category is not drowned by the overall list.
    """
    parts, favourites = [], query.favourites
    for category in favourites:
        slots, scores = _eligible(query, *lists.in_category(order, category))
        share = int(quota * _SHARE_OF_FAVOURITES) // len(favourites)
        parts.append((slots[:share], scores[:share]))
    most = quota + sum(len(slots) for slots, _ in parts)  # behind so many there is nothing that could be chosen
    slots, scores = _eligible(query, *lists.overall(order))
    parts.append((slots[:most], scores[:most]))
    slots = np.concatenate([part[0] for part in parts])
    scores = np.concatenate([part[1] for part in parts])
    _, first = np.unique(slots, return_index=True)
    chosen = np.sort(first)[:quota]
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    stale = Degradation(order.name.lower(), "stale", "the feature service does not answer: earlier counts were used")
    return SourceAnswer(slots[chosen], scores[chosen], (stale,) if lists.stale() else ())


def _eligible(query: Query, slots: Slots, scores: Floats) -> tuple[Slots, Floats]:
    kept = query.eligible.of(slots)
    return slots[kept], scores[kept]
