"""Popular items: overall and in the user's favourite categories, then the rest of the catalogue.

This source never under-fills: behind the top lists come all other eligible items by their last known count, newest
first. So a filter that leaves three items of 100,000 gets exactly those three.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from services.candidate_generation.query import Query, Slots, SourceAnswer
from services.candidate_generation.top_lists import TopLists, best_of_lists
from shared.domain.user_state import TopOrder

NAME: Final = "popular"


class PopularSource:
    """What most users consume.

    Args:
        lists: the feature service's top lists.
    """

    name = NAME

    def __init__(self, lists: TopLists) -> None:
        self._lists = lists

    def applies(self, query: Query) -> bool:
        """Always."""
        return True

    async def search(self, query: Query, quota: int) -> SourceAnswer:
        """The best of the lists by decayed count, filled up from the whole catalogue."""
        best = best_of_lists(self._lists, TopOrder.POPULAR, query, quota)
        missing = min(quota, query.eligible.count) - len(best.slots)
        if missing <= 0:
            return best
        rest = _rest(query, best.slots, missing)
        scores = query.catalogue.popularity[rest]
        ceiling = best.scores.min(initial=np.inf)  # a count of an item's last upsert may be newer than the list
        return SourceAnswer(
            np.concatenate([best.slots, rest]),
            np.concatenate([best.scores, np.minimum(scores, ceiling)]).astype(np.float32),
            best.degraded,
        )


def _rest(query: Query, taken: Slots, count: int) -> Slots:
    """The best eligible items beyond those taken: by count, then the newest, then by slot."""
    mask = query.eligible.mask.copy()
    mask[taken] = False
    slots = np.flatnonzero(mask)
    popularity, born_ms = query.catalogue.popularity[slots], query.catalogue.born_ms[slots]
    if count < len(slots):
        floor = np.partition(popularity, len(slots) - count)[len(slots) - count]
        kept = popularity >= floor
        slots, popularity, born_ms = slots[kept], popularity[kept], born_ms[kept]
    return slots[np.lexsort((slots, -born_ms, -popularity))[:count]]
