"""Search by words: titles, tags and categories that contain the words of the query, the telling words first.

It compares words, not meanings, and says so in `degraded` as long as no text encoder is installed.
"""

from __future__ import annotations

from typing import Final

from services.candidate_generation.lexicon import weighted_sum, words
from services.candidate_generation.query import Query, SourceAnswer
from services.candidate_generation.selection import best_slots
from shared.domain.provenance import Degradation

NAME: Final = "search"

_LEXICAL = Degradation(
    NAME, "not-installed", "no text encoder is installed: titles, tags and categories were matched by their words"
)


class SearchSource:
    """Items whose words are those of the query."""

    name = NAME

    def applies(self, query: Query) -> bool:
        """With words to search for."""
        return bool(query.request.query_text.strip())

    async def search(self, query: Query, quota: int) -> SourceAnswer:
        """Eligible items with at least one of the words; scores are weighted sums of IDF."""
        catalogue = query.catalogue
        asked = words(query.request.query_text)
        scores = weighted_sum(catalogue.words, asked, catalogue.size, max(1, len(catalogue)))
        found = best_slots(query, scores, quota)
        return SourceAnswer(found.slots, found.scores, (_LEXICAL,))
