"""Items for users who told their interests but have little or no history: tags and categories that match them."""

from __future__ import annotations

from typing import Final

from services.candidate_generation.lexicon import weighted_sum
from services.candidate_generation.query import Query, SourceAnswer
from services.candidate_generation.selection import best_slots

NAME: Final = "interests"


class InterestsSource:
    """What carries the labels that a user asked for, the rarer labels first.

    Args:
        until_events: a history of this length speaks for itself.
    """

    name = NAME

    def __init__(self, until_events: int) -> None:
        self._until_events = until_events

    def applies(self, query: Query) -> bool:
        """With interest tags and hardly any history."""
        user = query.request.user
        return bool(user and user.interest_tags) and len(query.request.history) < self._until_events

    async def search(self, query: Query, quota: int) -> SourceAnswer:
        """Eligible items with at least one of the interests; scores are sums of IDF, equal ones by popularity."""
        catalogue, user = query.catalogue, query.request.user
        interests = [tag.casefold() for tag in user.interest_tags] if user else []
        scores = weighted_sum(catalogue.labels, interests, catalogue.size, max(1, len(catalogue)))
        return best_slots(query, scores, quota)
