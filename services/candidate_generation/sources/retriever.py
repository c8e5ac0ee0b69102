"""The learned retriever: the user tower's vector and the items nearest to it."""

from __future__ import annotations

from typing import Final

from services.candidate_generation.query import NOTHING, Query, SourceAnswer

NAME: Final = "retriever"


class RetrieverSource:
    """Approximately nearest items by Annoy, exactly nearest among those newer than the bundle.

    A user without history is answered from the learned start vector.
    """

    name = NAME

    def applies(self, query: Query) -> bool:
        """Always: without a bundle the answer says so."""
        return True

    async def search(self, query: Query, quota: int) -> SourceAnswer:
        """The eligible items nearest to the user; scores are cosines."""
        if query.engine is None:
            return query.without_bundle(NAME, "the other sources answered")
        if not query.eligible.count:
            return NOTHING
        vector = await query.user_vector(query.engine)
        slots, scores = (await query.engine.nearest(vector, quota, query.eligible))[0]
        return SourceAnswer(slots, scores)
