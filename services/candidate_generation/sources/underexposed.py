"""New items that hardly anybody has consumed yet, whatever the user's taste: what exploration slots choose from.

Fresh items that resemble the user's taste come from the source `fresh`; this one gives all the others their chance.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from services.candidate_generation.drawing import drawn
from services.candidate_generation.query import Query, Slots, SourceAnswer
from services.candidate_generation.top_lists import TopLists
from shared.domain.user_state import TopOrder

NAME: Final = "underexposed"


class UnderexposedSource:
    """A draw among the newest items of the catalogue that stay under a budget of consuming events.

    Args:
        lists: live counts of the most popular items; for all others the count of their last upsert holds.
        budget: items consumed as often as this (halved every week) are known well enough.
    """

    name = NAME

    def __init__(self, lists: TopLists, budget: float) -> None:
        self._lists = lists
        self._budget = budget

    def applies(self, query: Query) -> bool:
        """Always."""
        return True

    async def search(self, query: Query, quota: int) -> SourceAnswer:
        """Eligible new items under the budget, each with the same chance; scores fall evenly from 1."""
        pool = query.eligible.among(query.catalogue.newest())
        little = query.catalogue.popularity[pool] < self._budget
        return drawn(NAME, query, np.setdiff1d(pool[little], self._well_known(), assume_unique=True), quota)

    def _well_known(self) -> Slots:
        slots, counts = self._lists.overall(TopOrder.POPULAR)
        return slots[counts >= self._budget]
