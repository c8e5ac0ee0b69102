"""Where candidates come from. They are asked in order until a page can be filled; one that fails is listed.

| source  | gives                                                                         |
|---------|-------------------------------------------------------------------------------|
| caller  | the request's own candidates; then nothing else is asked                        |
| retrieve | everything that candidate generation finds, merged over its sources            |
| popular | popular and trending items, also of the user's categories; remembered neighbours |
| memory  | what was popular, and who was whose neighbour, when that could be asked last      |
| pinned  | what the surface's rules pin, whatever the others gave                            |
"""

from __future__ import annotations

from services.recommendation.queries import Query
from services.recommendation.sources.caller import CallerSource
from services.recommendation.sources.memory import MemorySource
from services.recommendation.sources.pinned import PINNED, pinned_items
from services.recommendation.sources.popular import PopularSource
from services.recommendation.sources.retrieval import RetrievalSource, retrieved
from services.recommendation.stages import Source

__all__ = [
    "PINNED", "CallerSource", "MemorySource", "PopularSource", "RetrievalSource", "pinned_items", "retrieved",
    "sources_of",
]  # fmt: skip


def sources_of(query: Query, retrieval: Source, *others: Source) -> tuple[Source, ...]:
    """The sources to ask for a request, in order."""
    return (CallerSource(),) if query.candidate_item_ids else (retrieval, *others)
