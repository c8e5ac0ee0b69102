"""Plain lists: items like others, items that are trending, items that match words. One page each, never an error.

similar    candidate generation  → popular in the categories of the given items → what was popular last
trending   the feature store     → what was popular last
search     candidate generation  → nothing, and the loss in the list
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.recommendation import selection
from services.recommendation.dependencies import Dependencies
from services.recommendation.interleaving import interleaved
from services.recommendation.labels import labels_of
from services.recommendation.memory import Memory
from services.recommendation.pipeline import HYDRATE_SHARE, RETRIEVE_SHARE, Pipeline
from services.recommendation.queries import Entry, ItemSource, Listing, Query
from services.recommendation.slate import Pool, Viewer
from services.recommendation.sources import retrieved
from services.recommendation.sources.popular import LONGEST_LIST
from services.recommendation.stages import Journey, Lost, Rung, Split
from shared.domain.history import History
from shared.domain.retrieval import RetrievalRequest
from shared.domain.user_state import ItemState, TopItems, TopOrder

SLACK = 20
"""Asked beyond the page, in place of what was deleted a moment ago."""

MATCHES_RANKED = 200
"""Matches that are put into personal order."""


@dataclass(frozen=True, slots=True)
class Lookups:
    """Answers look-ups with the pipeline's own stages."""

    ports: Dependencies
    memory: Memory
    pipeline: Pipeline

    async def similar(self, query: Query, journey: Journey, item_ids: Sequence[str]) -> Listing:
        """Items like the given ones, best first, never these themselves."""
        asked = tuple(dict.fromkeys(item_ids))
        quotas = {"similar": query.page_size + SLACK}
        request = RetrievalRequest(
            History.empty(), query.time_ms, quotas=quotas, filter=query.filter, seed_item_ids=asked
        )
        pool = await journey.descend(
            "retrieve",
            Rung("similar items", lambda: self._retrieved(request, journey)),
            Rung("popular items of their categories", lambda: self._of_their_categories(asked, journey)),
            Rung("what was popular last", self._remembered),
        )
        return await self._listing(query, _without(pool, frozenset(asked)), journey)

    async def trending(self, query: Query, journey: Journey, category: str) -> Listing:
        """What is popular now, overall or in one category."""
        limit = LONGEST_LIST if query.filter else min(query.page_size + SLACK, LONGEST_LIST)
        pool = await journey.descend(
            "retrieve",
            Rung("trending items", lambda: self._trending(category, limit, journey)),
            Rung("what was popular last", lambda: self._remembered(category)),
        )
        return await self._listing(query, pool, journey)

    async def search(self, query: Query, journey: Journey, words: str) -> Listing:
        """What matches the words; in the user's own order when there is a user."""
        count = MATCHES_RANKED if query.user_id else query.page_size + SLACK
        request = RetrievalRequest(
            History.empty(), query.time_ms, quotas={"search": count}, filter=query.filter, query_text=words
        )
        try:
            with journey.stage("retrieve"):
                pool = await self._retrieved(request, journey)
        except Lost as lost:
            journey.lose("retrieve", lost.reason, f"{lost.detail}; nothing can be found")
            pool = Pool()
        if not query.user_id or not len(pool):
            return await self._listing(query, pool, journey)
        return await self._personal(query, pool, journey)

    async def _retrieved(self, request: RetrievalRequest, journey: Journey) -> Pool:
        found = await retrieved(self.ports.candidates, request, journey.budget.share_ms(RETRIEVE_SHARE))
        if not len(found.pool) and found.provenance.degraded:
            first = found.provenance.degraded[0]
            raise Lost(first.reason, first.detail or f"{first.stage} could not answer")
        journey.follow(found.provenance)
        return found.pool

    async def _of_their_categories(self, item_ids: tuple[str, ...], journey: Journey) -> Pool:
        budget_ms = journey.budget.share_ms(HYDRATE_SHARE)
        states = await self.ports.features.ask(lambda port: port.items(item_ids), budget_ms)
        items = [state.item for state in states if state.item is not None]
        categories = dict.fromkeys(category for item in items for category in item.categories)
        tops = await asyncio.gather(*(self._top(TopOrder.POPULAR, each, 100, journey) for each in categories))
        return interleaved(*(Pool.of("popular", top.item_ids, top.scores) for top in tops))

    async def _trending(self, category: str, limit: int, journey: Journey) -> Pool:
        top = await self._top(TopOrder.TRENDING, category, limit, journey)
        journey.watermark = top.watermark
        return Pool.of("trending", top.item_ids, top.scores)

    async def _top(self, order: TopOrder, category: str, limit: int, journey: Journey) -> TopItems:
        return await self.ports.features.ask(
            lambda port: port.top_items(order, category=category, limit=limit), journey.budget.share_ms(RETRIEVE_SHARE)
        )

    async def _remembered(self, category: str = "") -> Pool:
        pool = self.memory.popular()
        states = self.memory.items(pool.item_ids)
        return pool.take(Split.by((not category or _is_in(state, category) for state in states), len(pool)).kept)

    async def _listing(self, query: Query, pool: Pool, journey: Journey) -> Listing:
        """The pool's first page of what may be shown, in the pool's order."""
        scores = _scores_by_id(pool)
        allowed = await self._allowed(query, Viewer(), pool, journey)
        entries = tuple(
            Entry(item_id, scores[item_id], place, _sources(allowed, place))
            for place, item_id in enumerate(allowed.item_ids[: query.page_size])
        )
        return Listing(journey.provenance(query.configuration.version, query.request_id), entries)

    async def _personal(self, query: Query, pool: Pool, journey: Journey) -> Listing:
        """The matches as the ranker orders them for the user; what was consumed may be searched for."""
        viewer = replace(await self.pipeline.hydrated(query, journey), consumed=frozenset(), served=())
        allowed = await self._allowed(query, viewer, pool, journey)
        surface = query.configuration.surface
        ranked = await self.pipeline.scored(query, viewer, allowed, surface, journey)
        labels = labels_of(allowed, surface, query.time_ms)
        order = selection.order(ranked.candidates, ranked.scores, surface, query.page_size, labels)
        entries = tuple(
            Entry(allowed.item_ids[row], float(order.values[row]), place, _sources(allowed, row))
            for place, row in enumerate(order.rows[: query.page_size].tolist())
        )
        return Listing(journey.provenance(query.configuration.version, query.request_id), entries)

    async def _allowed(self, query: Query, viewer: Viewer, pool: Pool, journey: Journey) -> Pool:
        permitted = self.pipeline.permitted(query, viewer, pool, journey)
        return await self.pipeline.allowed(query, viewer, permitted, journey)


def _without(pool: Pool, forbidden: frozenset[str]) -> Pool:
    return pool.take(Split.by((item_id not in forbidden for item_id in pool.item_ids), len(pool)).kept)


def _is_in(state: ItemState | None, category: str) -> bool:
    return state is not None and state.item is not None and category in state.item.categories


def _scores_by_id(pool: Pool) -> dict[str, float]:
    """The source's own scores where there is one source, else 1 / rank in the merge."""
    if len(pool.sources) == 1:
        hits = pool.sources[0]
        return {pool.item_ids[row]: score for row, score in zip(hits.rows.tolist(), hits.scores.tolist(), strict=True)}
    return {item_id: 1 / (place + 1) for place, item_id in enumerate(pool.item_ids)}


def _sources(pool: Pool, row: int) -> tuple[ItemSource, ...]:
    found = []
    for hits in pool.sources:
        if row in (rows := hits.rows.tolist()):
            place = rows.index(row)
            found.append(ItemSource(hits.source, place + 1, float(hits.scores[place])))
    return tuple(found)
