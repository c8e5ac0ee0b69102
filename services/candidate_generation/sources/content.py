"""Items like the latest of the history by content alone: shared categories and tags, the rarer the more.

Needs no bundle, so it also serves catalogues that nobody has been trained on, and new items beside old ones.
"""

from __future__ import annotations

from typing import Final

from services.candidate_generation.catalogue import NOWHERE
from services.candidate_generation.lexicon import item_labels, weighted_sum
from services.candidate_generation.query import Query, SourceAnswer
from services.candidate_generation.selection import best_slots
from shared.domain.events import EventType

NAME: Final = "content"

_LATEST = 5
_AGAINST = frozenset({EventType.DISLIKE, EventType.HIDE})


class ContentSource:
    """What carries the labels of the items that the user liked last."""

    name = NAME

    def applies(self, query: Query) -> bool:
        """With a history only."""
        return len(query.request.history) > 0

    async def search(self, query: Query, quota: int) -> SourceAnswer:
        """Eligible items with at least one of the labels, never the history itself; scores are sums of IDF."""
        catalogue, kinds = query.catalogue, query.request.history.event_types
        slots = query.history_slots
        liked = [slot for slot, kind in zip(slots.tolist(), kinds.tolist(), strict=True) if kind not in _AGAINST]
        items = [catalogue.item(slot) for slot in liked[-_LATEST:] if slot != NOWHERE]
        labels = [label for item in reversed(items) for label in item_labels(item)]
        scores = weighted_sum(catalogue.labels, labels, catalogue.size, max(1, len(catalogue)))
        scores[slots[slots != NOWHERE]] = 0
        return best_slots(query, scores, quota)
