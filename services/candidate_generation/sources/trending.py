"""Trending items: what rises now, overall and in the user's favourite categories."""

from __future__ import annotations

from typing import Final

from services.candidate_generation.query import Query, SourceAnswer
from services.candidate_generation.top_lists import TopLists, best_of_lists
from shared.domain.user_state import TopOrder

NAME: Final = "trending"


class TrendingSource:
    """What users consume today.

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
        """The best of the lists; fewer than the quota when less is trending."""
        return best_of_lists(self._lists, TopOrder.TRENDING, query, quota)
