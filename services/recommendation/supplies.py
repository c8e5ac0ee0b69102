"""What a look-up is filled from: it is asked for more while the filters leave the page short."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np

from services.recommendation.guarded import Guarded
from services.recommendation.interleaving import interleaved
from services.recommendation.pipeline import RETRIEVE_SHARE
from services.recommendation.slate import Pool
from services.recommendation.sources import retrieved
from services.recommendation.sources.retrieval import LARGEST_EXCLUSION, MORE_AT_ONCE
from services.recommendation.stages import Journey, Lost
from shared.domain.retrieval import RetrievalRequest
from shared.domain.services import TOP_ITEMS_LISTED, CandidateGeneration, Features
from shared.domain.user_state import TopItems, TopOrder

MOST_AT_ONCE: Final = 1_000
SOURCES: Final = {TopOrder.POPULAR: "popular", TopOrder.TRENDING: "trending"}


class Supply(Protocol):
    """Gives candidates in batches, best first."""

    async def more(self, seen: frozenset[str], journey: Journey) -> Pool:
        """The next ones that are none of these; nothing when there are no others.

        Raises:
            Lost: it cannot answer.
        """


@dataclass(slots=True)
class Batches:
    """What a supply has given so far, batch by batch.

    Attributes:
        first: the first batch.
        seen: what came already, or is not wanted.
    """

    seen: frozenset[str] = frozenset()
    first: Pool = field(default_factory=Pool)
    _supply: Supply | None = None
    _least: float = math.inf

    async def begin(self, supply: Supply, journey: Journey) -> None:
        """Take the first batch of a supply, and all others from it.

        Raises:
            Lost: it gives none.
        """
        self.first = self._taken(await supply.more(self.seen, journey))
        self._supply = supply

    async def next(self, journey: Journey) -> Pool:
        """Another batch; nothing, and a loss in the list, when there is no time for it."""
        if self._supply is None:
            return Pool()
        try:
            return self._taken(await self._supply.more(self.seen, journey))
        except Lost as lost:
            journey.lose("retrieve", lost.reason, f"{lost.detail}; the page may be shorter than it could be")
            return Pool()

    def _taken(self, pool: Pool) -> Pool:
        """The batch; what came later is worth no more than what came before, though each answer scores anew."""
        self.seen |= frozenset(pool.item_ids)
        sources = tuple(replace(hits, scores=np.minimum(hits.scores, np.float32(self._least))) for hits in pool.sources)
        self._least = min([self._least, *(float(hits.scores.min()) for hits in sources if len(hits.scores))])
        return replace(pool, sources=sources)


@dataclass(slots=True)
class TopSupply:
    """Lists of top items, over all or of categories, read on page by page; the best of each list first.

    Attributes:
        limit: of the first page; later ones are as long as they can be.
    """

    features: Guarded[Features]
    order: TopOrder
    categories: Sequence[str]
    limit: int
    _tokens: dict[str, str] = field(default_factory=dict)

    async def more(self, seen: frozenset[str], journey: Journey) -> Pool:
        """The next page of every list that goes on."""
        while pending := [each for each in self.categories if self._tokens.get(each) != ""]:
            tops = await asyncio.gather(*(self._page(each, journey) for each in pending))
            self._tokens |= {each: top.next_page_token for each, top in zip(pending, tops, strict=True)}
            self.limit = TOP_ITEMS_LISTED
            journey.watermark = tops[0].watermark
            pools = (Pool.of(SOURCES[self.order], top.item_ids, top.scores) for top in tops)
            if len(new := interleaved(*pools).without(seen)):
                return new
        return Pool()

    async def _page(self, category: str, journey: Journey) -> TopItems:
        token = self._tokens.get(category, "")
        return await self.features.ask(
            lambda port: port.top_items(self.order, category=category, limit=self.limit, page_token=token),
            journey.budget.share_ms(RETRIEVE_SHARE),
        )


@dataclass(frozen=True, slots=True)
class RetrievalSupply:
    """One source of candidate generation, asked again without what it gave."""

    candidates: Guarded[CandidateGeneration]
    request: RetrievalRequest

    async def more(self, seen: frozenset[str], journey: Journey) -> Pool:
        """What it finds beyond these; more at once the more were in vain."""
        excluded = self.request.filter.exclude_item_ids | seen
        if len(excluded) > LARGEST_EXCLUSION:
            raise Lost("exhausted", f"of {len(seen)} candidates nearly none may be shown, and more cannot be left out")
        found = await retrieved(
            self.candidates, self._request(excluded, len(seen)), journey.budget.share_ms(RETRIEVE_SHARE)
        )
        if not len(found.pool) and found.provenance.degraded:
            first = found.provenance.degraded[0]
            raise Lost(first.reason, first.detail or f"{first.stage} could not answer")
        journey.follow(found.provenance)
        return found.pool.without(seen)

    def _request(self, excluded: frozenset[str], seen: int) -> RetrievalRequest:
        quotas = {
            name: max(quota, min(MORE_AT_ONCE * seen, MOST_AT_ONCE)) for name, quota in self.request.quotas.items()
        }
        wanted = replace(self.request.filter, exclude_item_ids=excluded)
        return replace(self.request, filter=wanted, quotas=quotas)


@dataclass(frozen=True, slots=True)
class GivenSupply:
    """A pool, once."""

    pool: Pool

    async def more(self, seen: frozenset[str], journey: Journey) -> Pool:
        """The pool."""
        del journey
        return self.pool.without(seen)
