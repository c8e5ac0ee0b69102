"""Recent-item neighbours: what users went on to after the items of this history (decayed transition counter)."""

from __future__ import annotations

from typing import Final

from services.candidate_generation.engine import Engine
from services.candidate_generation.query import Query, SourceAnswer

NAME: Final = "neighbours"

# The table knows no filter: ask for more than the quota, and for all that it has when that was not enough.
_OVER_FETCH = 3


class NeighboursSource:
    """Followers of the latest events' items."""

    name = NAME

    def applies(self, query: Query) -> bool:
        """With a history only."""
        return len(query.request.history) > 0

    async def search(self, query: Query, quota: int) -> SourceAnswer:
        """The eligible items that are most expected next; scores are decayed transition counts."""
        engine = query.engine
        if engine is None:
            return query.without_bundle(NAME, "the other sources answered")
        answer = _eligible(engine, query, _OVER_FETCH * quota)
        if len(answer.slots) < quota:
            answer = _eligible(engine, query, len(engine.parts.vocabulary))
        return SourceAnswer(answer.slots[:quota], answer.scores[:quota])


def _eligible(engine: Engine, query: Query, k: int) -> SourceAnswer:
    slots, scores = engine.following(query.request.history, k)
    kept = query.eligible.of(slots)
    return SourceAnswer(slots[kept], scores[kept])
