"""The request path of `Recommend`, from the admitted query to the ranked slate. Read `rank` top to bottom.

                    ┌────────────────────────────────────────────────────────────────────────┐
    query ──────▶   │ hydrate    whom it is for: history, consumed, hidden      hydration.py  │ ── feature
                    │ retrieve   candidates, merged, with provenance            sources/      │ ── candidate_generation
                    │ filter     what ids alone forbid, then what items forbid  filters/      │
                    │ items      one batched read of all candidates             hydration.py  │ ── feature
                    │ rank       as many as the time allows, by the Transformer ranking.py    │ ── ranking
                    │ select     rules, diversity, caps, chance                 selecting.py  │
                    └────────────────────────────────────────────────────────────────────────┘
    ranked slate ─▶ pages, explanations (answering.py) ─▶ answer ─▶ the log (recording.py)

Sources are asked, and asked again for others, until what the filters leave fills the page. A first page is not checked
once more before it goes out, because its items were read in the same request; every later page is (next_page.py).

A stage that fails is replaced by the next rung of its ladder and listed; no stage raises:

    hydrate    the stored state      → the session in the request
    retrieve   candidate generation  → popular, trending, neighbours → what this process remembers
    items      the catalogue         → what this process remembers
    rank       the Transformer       → retrieval's order
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from services.recommendation.hydration import ItemHydration, ViewerHydration
from services.recommendation.quality import QualityFactor
from services.recommendation.queries import Query
from services.recommendation.ranked_slate import RankedSlate
from services.recommendation.ranker_inputs import candidate_columns
from services.recommendation.ranking import Ranked, RankingStage, ranking_request
from services.recommendation.selecting import Selected, selected
from services.recommendation.slate import Pool, Rows, Scores, Viewer
from services.recommendation.sources import PINNED, pinned_items, sources_of
from services.recommendation.stages import Filter, Journey, Rung, Source, Wish
from services.recommendation.surface import Surface
from services.recommendation.values import retrieval_scores
from shared.domain.provenance import Provenance
from shared.domain.slates import ServedSlate

HYDRATE_SHARE, WATERMARK_SHARE, RETRIEVE_SHARE, ITEMS_SHARE = 0.25, 0.5, 0.4, 0.3
"""Part of what is left of the budget that each call may take; waiting for a watermark may take more."""

REFILL = "refill"
"""The stage around the rounds that make up for what filters removed: their retrieving, reading and filtering."""


@dataclass(frozen=True, slots=True)
class Stages:
    """The components, built once in the composition root.

    Attributes:
        sources: asked in order until a page can be filled; the caller's own candidates come instead of them.
        quality: the share of the candidates that is ranked under load.
    """

    viewers: ViewerHydration
    sources: Sequence[Source]
    id_filters: Sequence[Filter]
    items: ItemHydration
    item_filters: Sequence[Filter]
    ranking: RankingStage
    quality: QualityFactor


class Pipeline:
    """Ranks a slate. Raises nothing but what says that the query itself is wrong."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    async def rank(self, query: Query, recommendation_id: str, served_ms: int, journey: Journey) -> RankedSlate:
        """Every stage in order."""
        surface = query.configuration.surface
        with journey.stage("hydrate"):
            viewer = await self.hydrated(query, journey)
        pool = await self._gathered(query, viewer, journey)
        with journey.stage("rank"):
            pool = self._cut(query, pool, surface, journey)
            ranked = await self.scored(query, viewer, pool, surface, journey)
        with journey.stage("select"):
            chosen = selected(query, pool, ranked)
        return _slate(_Asked(query, recommendation_id, served_ms), viewer, pool, ranked, chosen)

    async def hydrated(self, query: Query, journey: Journey) -> Viewer:
        """Whom it is for."""
        share = WATERMARK_SHARE if query.min_watermark.positions else HYDRATE_SHARE
        viewers = self._stages.viewers
        stored = Rung("the stored history", lambda: viewers.stored(query, journey, share))
        session = Rung("the session in the request", lambda: viewers.from_session(query, journey, share))
        viewer = await (journey.descend("hydrate", stored, session) if query.user_id else session.attempt())
        journey.watermark = viewer.watermark
        return viewer

    async def _gathered(self, query: Query, viewer: Viewer, journey: Journey) -> Pool:
        """Candidates that may be shown, from one source after the other until they fill a page.

        A source that left the page short, because of what the filters removed, is asked for others until it knows
        none. So a page is short only when nothing else may be shown, or when the time is over, which is listed.
        """
        pool, seen = Pool(), frozenset[str]()
        for source in sources_of(query, *self._stages.sources):
            places: dict[str, str] = {}
            while len(pool) < query.page_size:
                with journey.stage(REFILL) if seen else nullcontext():
                    with journey.stage("retrieve"):
                        new = await journey.ask(source, Wish(query, viewer, seen, places), RETRIEVE_SHARE)
                    if not len(new):
                        break
                    seen |= frozenset(new.item_ids)
                    pool = pool.joined(await self._admitted(query, viewer, new, journey))
        if len(pins := pinned_items(query)):
            journey.add(pins)
            pool = pool.joined(await self._admitted(query, viewer, pins, journey))
        return pool

    async def _admitted(self, query: Query, viewer: Viewer, found: Pool, journey: Journey) -> Pool:
        return await self.allowed(query, viewer, self.permitted(query, viewer, found, journey), journey)

    def permitted(self, query: Query, viewer: Viewer, pool: Pool, journey: Journey) -> Pool:
        """The candidates without those whose ids forbid it."""
        return journey.filter(self._stages.id_filters, query, viewer, pool)

    async def allowed(self, query: Query, viewer: Viewer, pool: Pool, journey: Journey) -> Pool:
        """The candidates with their items, without those whose items forbid it."""
        budget_ms = journey.budget.share_ms(ITEMS_SHARE)
        with journey.stage("items"):
            read = await journey.descend(
                "hydrate-items",
                Rung("the catalogue", lambda: self._stages.items.read(pool, budget_ms)),
                Rung("what was known of the items last", lambda: self._stages.items.remembered(pool)),
            )
        with journey.stage("filter"):
            return journey.filter(self._stages.item_filters, query, viewer, read)

    def _cut(self, query: Query, pool: Pool, surface: Surface, journey: Journey) -> Pool:
        """The best of the merge, as many as the surface ranks and the time allows."""
        limit = max(surface.ranked_candidates, query.page_size, len(query.candidate_item_ids))
        if len(pool) <= query.page_size:
            return pool
        wanted, budget_ms = min(limit, len(pool)), journey.budget.remaining_ms
        in_time = self._stages.ranking.affordable(wanted, query.page_size, budget_ms)
        share = 1.0 if query.candidate_item_ids else self._stages.quality.share  # the caller's own are ranked in full
        count = min(in_time, max(query.page_size, round(wanted * share)))
        if count < wanted:
            why = f"in {budget_ms:.0f} ms" if count == in_time else "because answers have been late"
            journey.lose("rank", "shrunk", f"{count} of {wanted} candidates are ranked {why}")
        kept = _best(pool, count)
        journey.cut(pool, kept)
        return pool.take(kept)

    async def scored(self, query: Query, viewer: Viewer, pool: Pool, surface: Surface, journey: Journey) -> Ranked:
        """The candidates as the ranker sees them, and what they are worth."""
        candidates = candidate_columns(pool, query.time_ms)
        if not len(pool):
            return Ranked(candidates, retrieval_scores(candidates))
        candidates = await self._stages.ranking.with_new_items(candidates, pool, journey)
        request = ranking_request(query, viewer, candidates)

        async def in_retrieval_order() -> Scores:
            return retrieval_scores(candidates)

        scores = await journey.descend(
            "rank",
            Rung("the ranker", lambda: self._stages.ranking.scored(request, surface, journey)),
            Rung("retrieval's order", in_retrieval_order),
        )
        journey.model_version = scores.model_version
        return Ranked(candidates, scores)


@dataclass(frozen=True, slots=True)
class _Asked:
    query: Query
    recommendation_id: str
    served_ms: int


def _best(pool: Pool, count: int) -> Rows:
    """The first rows of the merge, and behind them what is pinned."""
    first = np.arange(count, dtype=np.int32)
    pins = [hits.rows for hits in pool.sources if hits.source == PINNED]
    return np.concatenate((first, *(np.sort(rows[rows >= count]) for rows in pins)))


def _slate(asked: _Asked, viewer: Viewer, pool: Pool, ranked: Ranked, chosen: Selected) -> RankedSlate:
    """The record of the first page. Its header is set when the answer is complete."""
    query, scores, order = asked.query, ranked.scores, chosen.order
    shown, reserve = order.rows[: query.page_size], order.rows[query.page_size :]
    served = ServedSlate(
        recommendation_id=asked.recommendation_id,
        user_id=query.user_id,
        session_id=query.session_id,
        surface=query.surface,
        served_ms=asked.served_ms,
        provenance=Provenance(),
        seed=query.seed,
        history=viewer.history,
        user=viewer.profile,
        context=query.context,
        candidates=ranked.candidates,
        sources=pool.sources,
        actions=scores.actions,
        action_weights=scores.weights,
        probabilities=scores.probabilities,
        values=order.values,
        shown_rows=shown,
        propensities=order.propensities_of(len(shown)),
        reserve_rows=reserve,
        labels=chosen.labels,
        evidence=chosen.evidence,
        arm=query.configuration.arm,
    )
    return RankedSlate(served, order.adjustments, order.moves, scores.ratings, scores.parts)
