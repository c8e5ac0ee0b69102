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

import asyncio
from dataclasses import replace
from itertools import chain, zip_longest

from services.recommendation.business_rules import Deed, working
from services.recommendation.filters import served_lately
from services.recommendation.guarded import Guarded
from services.recommendation.memory import Memory
from services.recommendation.queries import Query
from services.recommendation.slate import Pool
from services.recommendation.stages import Found, Lost, Source, Wish
from shared.domain.conditions import ItemFilter
from shared.domain.retrieval import RetrievalRequest, RetrievalResult
from shared.domain.services import CandidateGeneration, Features
from shared.domain.user_state import TopOrder

PINNED = "pinned"
FAVOURITE_CATEGORIES = 3
LONGEST_LIST = 1_000
MORE_AT_ONCE = 4
LARGEST_EXCLUSION = 20_000  # the contract's limit; what is beyond it is removed by this side's own filters


class CallerSource:
    """The candidates that came with the request."""

    name = "caller"

    async def find(self, wish: Wish, _budget_ms: float) -> Found:
        """They, in the caller's order."""
        return Found(Pool.of(self.name, wish.query.candidate_item_ids))


class RetrievalSource:
    """Candidate generation, which merges sources of its own."""

    name = "retrieve"

    def __init__(self, candidates: Guarded[CandidateGeneration], memory: Memory) -> None:
        self._candidates = candidates
        self._memory = memory

    async def find(self, wish: Wish, budget_ms: float) -> Found:
        """Its merged answer; the filters go along, so that quotas are filled with what may be shown.

        Whoever asks again gets more at once: a rule may block nearly everything.
        """
        query, viewer = wish.query, wish.viewer
        more = MORE_AT_ONCE if wish.beyond else 1
        request = RetrievalRequest(
            history=viewer.history,
            time_ms=query.time_ms,
            user=viewer.profile,
            quotas={name: more * quota for name, quota in query.configuration.surface.quotas.items()},
            filter=_with_exclusions(wish),
            seed=query.seed,
        )
        found = await retrieved(self._candidates, request, budget_ms)
        if not wish.beyond:  # else the best of them are left out
            self._memory.keep_neighbours(viewer.history, found.pool)
        return found


class PopularSource:
    """What many like: overall, and in the categories that were asked for or that the user prefers."""

    name = "popular"

    def __init__(self, features: Guarded[Features], memory: Memory) -> None:
        self._features = features
        self._memory = memory

    async def find(self, wish: Wish, budget_ms: float) -> Found:
        """The lists, merged: the best of each first."""
        query, viewer = wish.query, wish.viewer
        seen = len(viewer.consumed) + len(viewer.hidden) + len(query.filter.exclude_item_ids) + len(wish.beyond)
        limit = min(2 * query.page_size + seen, LONGEST_LIST)
        favourites = sorted(viewer.affinities, key=lambda name: (-viewer.affinities[name], name))[:FAVOURITE_CATEGORIES]
        categories = sorted(query.filter.include_categories) or favourites
        lists = [("trending", TopOrder.TRENDING, ""), ("popular", TopOrder.POPULAR, "")]
        lists += [("interests", TopOrder.POPULAR, category) for category in categories]
        pools = await asyncio.gather(*(self._top(*each, limit, budget_ms) for each in lists))
        return Found(interleaved(self._memory.neighbours(viewer.history), *pools))

    async def _top(self, source: str, order: TopOrder, category: str, limit: int, budget_ms: float) -> Pool:
        top = await self._features.ask(lambda port: port.top_items(order, category=category, limit=limit), budget_ms)
        return Pool.of(source, top.item_ids, top.scores)


class MemorySource:
    """What this process remembers."""

    name = "memory"

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def find(self, wish: Wish, _budget_ms: float) -> Found:
        """Neighbours of the latest items and popular ones, merged."""
        return Found(interleaved(self._memory.neighbours(wish.viewer.history), self._memory.popular()))


async def retrieved(candidates: Guarded[CandidateGeneration], request: RetrievalRequest, budget_ms: float) -> Found:
    """What candidate generation answers, checked.

    Raises:
        Lost: it failed, or its columns do not fit together.
    """
    result = await candidates.ask(lambda port: port.retrieve(request, budget_ms=budget_ms), budget_ms)
    _check(result)
    return Found(Pool(result.item_ids, result.sources), result.provenance)


def interleaved(*pools: Pool) -> Pool:
    """A fair merge: the best of each pool first, then the second of each, and so on; each item once."""
    rounds = chain.from_iterable(zip_longest(*(pool.item_ids for pool in pools)))
    merged = Pool(tuple(dict.fromkeys(item_id for item_id in rounds if item_id is not None)))
    for pool in pools:
        merged = merged.joined(pool)
    return merged


def sources_of(query: Query, retrieval: Source, *others: Source) -> tuple[Source, ...]:
    """The sources to ask for a request, in order."""
    return (CallerSource(),) if query.candidate_item_ids else (retrieval, *others)


def pinned_items(query: Query) -> Pool:
    """What the surface's pins name, whether a source gave it or not; nothing beside the caller's own candidates."""
    if query.candidate_item_ids:
        return Pool()
    pins = working(query.configuration.surface.rules, query.time_ms, Deed.PIN)
    named = [item_id for rule in pins for item_id in rule.items]
    return Pool.of(PINNED, named) if named else Pool()


def _with_exclusions(wish: Wish) -> ItemFilter:
    """The filter with everything that must not come back, what came already and the request's own exclusions first."""
    wanted, viewer = wish.query.filter, wish.viewer
    served = served_lately(wish.query, viewer)
    parts = (wish.beyond, wanted.exclude_item_ids, viewer.hidden, viewer.consumed, served)
    excluded = frozenset[str]().union(*parts)
    if len(excluded) > LARGEST_EXCLUSION:
        excluded = frozenset(list(dict.fromkeys(chain(*parts)))[:LARGEST_EXCLUSION])
    return replace(wanted, exclude_item_ids=excluded)


def _check(result: RetrievalResult) -> None:
    count = len(result.item_ids)
    if len(set(result.item_ids)) != count:
        raise Lost("invalid-answer", "candidate-generation gave an item twice")
    for hits in result.sources:
        fits = len(hits.rows) == len(hits.scores) and (
            not len(hits.rows) or 0 <= hits.rows.min() <= hits.rows.max() < count
        )
        if not fits:
            raise Lost(
                "invalid-answer", f"candidate-generation gave rows of {hits.source} that do not fit {count} items"
            )
