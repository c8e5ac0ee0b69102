"""Plain lists: items like others, items that are trending, items that match words. One page each, never an error.

similar    candidate generation  → popular in the categories of the given items → what was popular last
trending   the feature store     → what was popular last
search     candidate generation  → nothing, and the loss in the list

Whatever is asked is asked for more while the filters leave the page short, so a page is short only when nothing else
may be shown. What nobody consumed lately is not trending.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.recommendation import selection
from services.recommendation.dependencies import Dependencies
from services.recommendation.labels import labels_of
from services.recommendation.memory import Memory
from services.recommendation.pipeline import HYDRATE_SHARE, Pipeline
from services.recommendation.queries import Entry, ItemSource, Listing, Query
from services.recommendation.slate import Pool, Viewer
from services.recommendation.stages import Journey, Lost, Rung, Split
from services.recommendation.supplies import Batches, GivenSupply, RetrievalSupply, TopSupply
from shared.domain.history import History
from shared.domain.retrieval import RetrievalRequest
from shared.domain.services import TOP_ITEMS_LISTED
from shared.domain.user_state import ItemState, TopOrder

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
        batches = Batches(seen=frozenset(asked))
        await journey.descend(
            "retrieve",
            Rung("similar items", lambda: batches.begin(RetrievalSupply(self.ports.candidates, request), journey)),
            Rung(
                "popular items of their categories", lambda: self._of_their_categories(query, asked, batches, journey)
            ),
            Rung("what was popular last", lambda: batches.begin(self._remembered(), journey)),
        )
        return await self._listing(query, batches, journey)

    async def trending(self, query: Query, journey: Journey, category: str) -> Listing:
        """What is popular now, overall or in one category."""
        trending = TopSupply(self.ports.features, TopOrder.TRENDING, (category,), _first_page(query))
        batches = Batches()
        await journey.descend(
            "retrieve",
            Rung("trending items", lambda: batches.begin(trending, journey)),
            Rung("what was popular last", lambda: batches.begin(self._remembered(category), journey)),
        )
        return await self._listing(query, batches, journey)

    async def search(self, query: Query, journey: Journey, words: str) -> Listing:
        """What matches the words; in the user's own order when there is a user."""
        count = MATCHES_RANKED if query.user_id else query.page_size + SLACK
        request = RetrievalRequest(
            History.empty(), query.time_ms, quotas={"search": count}, filter=query.filter, query_text=words
        )
        batches = Batches()
        try:
            with journey.stage("retrieve"):
                await batches.begin(RetrievalSupply(self.ports.candidates, request), journey)
        except Lost as lost:
            journey.lose("retrieve", lost.reason, f"{lost.detail}; nothing can be found")
        if not query.user_id or not len(batches.first):
            return await self._listing(query, batches, journey)
        return await self._personal(query, batches, journey)

    async def _of_their_categories(
        self, query: Query, item_ids: tuple[str, ...], batches: Batches, journey: Journey
    ) -> None:
        budget_ms = journey.budget.share_ms(HYDRATE_SHARE)
        states = await self.ports.features.ask(lambda port: port.items(item_ids), budget_ms)
        items = [state.item for state in states if state.item is not None]
        categories = tuple(dict.fromkeys(category for item in items for category in item.categories))
        await batches.begin(TopSupply(self.ports.features, TopOrder.POPULAR, categories, _first_page(query)), journey)

    def _remembered(self, category: str = "") -> GivenSupply:
        pool = self.memory.popular()
        states = self.memory.items(pool.item_ids)
        kept = Split.by((not category or _is_in(state, category) for state in states), len(pool)).kept
        return GivenSupply(pool.take(kept))

    async def _listing(self, query: Query, batches: Batches, journey: Journey) -> Listing:
        """The first page of what may be shown, in the order in which it came."""
        allowed = await self._filled(query, Viewer(), batches, journey)
        scores = _scores_by_id(allowed)
        entries = tuple(
            Entry(item_id, scores[item_id], place, _sources(allowed, place))
            for place, item_id in enumerate(allowed.item_ids[: query.page_size])
        )
        return Listing(journey.provenance(query.configuration.version, query.request_id), entries)

    async def _personal(self, query: Query, batches: Batches, journey: Journey) -> Listing:
        """The matches as the ranker orders them for the user; what was consumed may be searched for."""
        viewer = replace(await self.pipeline.hydrated(query, journey), consumed=frozenset(), served=())
        allowed = await self._filled(query, viewer, batches, journey)
        surface = query.configuration.surface
        ranked = await self.pipeline.scored(query, viewer, allowed, surface, journey)
        labels = labels_of(allowed, surface, query.time_ms)
        order = selection.order(ranked.candidates, ranked.scores, surface, query.page_size, labels)
        entries = tuple(
            Entry(allowed.item_ids[row], float(order.values[row]), place, _sources(allowed, row))
            for place, row in enumerate(order.rows[: query.page_size].tolist())
        )
        return Listing(journey.provenance(query.configuration.version, query.request_id), entries)

    async def _filled(self, query: Query, viewer: Viewer, batches: Batches, journey: Journey) -> Pool:
        """What may be shown: a page of it, unless nothing else may be shown or the time is over, which is listed."""
        pool, new = Pool(), batches.first
        while len(new):
            permitted = self.pipeline.permitted(query, viewer, new, journey)
            pool = pool.joined(await self.pipeline.allowed(query, viewer, permitted, journey))
            if len(pool) >= query.page_size:
                break
            with journey.stage("retrieve"):
                new = await batches.next(journey)
        return pool


def _first_page(query: Query) -> int:
    return TOP_ITEMS_LISTED if query.filter else min(query.page_size + SLACK, TOP_ITEMS_LISTED)


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
