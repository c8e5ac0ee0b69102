"""Fresh items: the newest of the catalogue, so that they can be found before anybody has touched them.

With a bundle, fresh means newer than the bundle, and the likeness of their content to the user's taste decides.
Without one, every item of the last days has the same chance: the order is drawn anew for each request, by its seed,
because "newest first" would show each item for a moment only.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from services.candidate_generation.drawing import drawn
from services.candidate_generation.query import NOTHING, Query, Slots, SourceAnswer

NAME: Final = "fresh"


class FreshSource:
    """A small share of the candidates, whatever their counts.

    Args:
        window_ms: without a bundle, items at most this old are fresh.
    """

    name = NAME

    def __init__(self, window_ms: int) -> None:
        self._window_ms = window_ms

    def applies(self, query: Query) -> bool:
        """Always."""
        return True

    async def search(self, query: Query, quota: int) -> SourceAnswer:
        """Eligible fresh items; scores are cosines to the user, or fall evenly from 1 without a bundle."""
        pool = query.eligible.among(query.catalogue.newest())
        if query.engine is None:
            return drawn(NAME, query, pool[self._young(query, pool)], quota)
        fresh = pool[~query.engine.knows(pool)]
        if not len(fresh):
            return NOTHING
        vector = await query.user_vector(query.engine)
        slots, scores = (await query.engine.nearest_among(vector, quota, fresh))[0]
        return SourceAnswer(slots, scores)

    def _young(self, query: Query, pool: Slots) -> Slots:
        return np.asarray(query.catalogue.born_ms[pool] > query.request.time_ms - self._window_ms)
