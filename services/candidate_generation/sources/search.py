"""Search by meaning and by words: items near the query's vector, and items that contain its words.

Both lists vote by reciprocal rank (`fusing`): meaning finds what the words do not name, words find names and numbers
that no encoder knows. Where no encoder can help, words alone decide, and `degraded` says so.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import structlog

from services.candidate_generation.fusing import fused
from services.candidate_generation.lexicon import weighted_sum, words
from services.candidate_generation.meanings import QueryEncoder
from services.candidate_generation.query import Query, SourceAnswer
from services.candidate_generation.selection import best_slots
from shared.domain.provenance import Degradation

NAME: Final = "search"

_PATIENCE_MS: Final = 30.0
_NEAR: Final = 0.6
"""Of the nearest item's cosine: what is further off is not about the query, however few items there are. The front may
put what is left into personal order."""

_INSTEAD: Final = "titles, tags and categories were matched by their words"

log = structlog.get_logger()


class SearchSource:
    """Items that are about what the query says.

    Args:
        encoder: of queries; None: none is installed.
        patience_ms: longest wait for the query's vector.
    """

    name = NAME

    def __init__(self, encoder: QueryEncoder | None = None, patience_ms: float = _PATIENCE_MS) -> None:
        self._encoder, self._patience_ms = encoder, patience_ms

    def applies(self, query: Query) -> bool:
        """With words to search for."""
        return bool(query.request.query_text.strip())

    async def search(self, query: Query, quota: int) -> SourceAnswer:
        """Eligible items, best first.

        Scores are sums of reciprocal ranks; where words alone decide, weighted sums of IDF.
        """
        by_words = self._by_words(query, quota)
        by_meaning = await self._by_meaning(query, quota)
        if isinstance(by_meaning, Degradation):
            return SourceAnswer(by_words.slots, by_words.scores, (by_meaning,))
        return fused([by_words.slots, by_meaning.slots], quota)

    def _by_words(self, query: Query, quota: int) -> SourceAnswer:
        catalogue = query.catalogue
        asked = words(query.request.query_text)
        scores = weighted_sum(catalogue.words, asked, catalogue.size, max(1, len(catalogue)))
        return best_slots(query, scores, quota)

    async def _by_meaning(self, query: Query, quota: int) -> SourceAnswer | Degradation:
        catalogue, encoder = query.catalogue, self._encoder
        if encoder is None:
            return _lost("not-installed", "no text encoder is installed")
        if not len(catalogue.meanings):
            return _lost("no-vectors", "no item has a vector of the text encoder yet")
        if not encoder.ready:
            return _lost("starting", "the text encoder is being loaded")
        try:
            vector = await encoder.vector(query.request.query_text.strip(), self._patience_ms)
        except TimeoutError:
            return _lost("deadline", "the text encoder was late")
        except Exception:
            log.exception("search.encoder.failed")
            return _lost("failed", "the text encoder failed")
        size = catalogue.size
        cosines = await encoder.compared(vector, catalogue.meanings, size)
        # Also of what the request excludes: whoever asks again, without what came already, gets nothing further off.
        nearest = float(cosines[query.eligible.content.of(np.arange(size))].max(initial=0))
        return best_slots(query, np.where(cosines >= _NEAR * nearest, cosines, 0), quota)


def _lost(reason: str, why: str) -> Degradation:
    return Degradation(NAME, reason, f"{why}: {_INSTEAD}")
