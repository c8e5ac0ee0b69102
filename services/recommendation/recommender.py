"""The front as one object: what the servicer, and callers in the same process, call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.recommendation import telemetry
from services.recommendation.admission import Admission
from services.recommendation.answering import PageWriter
from services.recommendation.crowding import Crowd
from services.recommendation.identity import RecommendationIds, seed_of
from services.recommendation.lookups import Lookups
from services.recommendation.next_page import NextPages
from services.recommendation.paging import PageTokens, Place
from services.recommendation.pipeline import REFILL, Pipeline
from services.recommendation.quality import QualityFactor
from services.recommendation.queries import Answer, Listing, Query, ReplayReport
from services.recommendation.ranked_slate import RankedSlate
from services.recommendation.recording import SlateRecorder
from services.recommendation.replay import Replays
from services.recommendation.reserve import Reserve
from services.recommendation.stages import Journey
from services.recommendation.status import StatusPage, SystemStatus
from shared.domain.provenance import Provenance
from shared.kernel.clock import Clock

WHATEVER_IS_RANKED = ("hydrate", REFILL)
"""Stages that ranking fewer makes no shorter: a state is waited for, and what a rule blocks is made up for. An answer
that only they made late says nothing of how many to rank."""


@dataclass(frozen=True, slots=True)
class Recommender:
    """Answers every question of the front; what it cannot get it lists as degraded."""

    clock: Clock
    ids: RecommendationIds
    admission: Admission
    crowd: Crowd
    pipeline: Pipeline
    quality: QualityFactor
    pages: NextPages
    tokens: PageTokens
    writer: PageWriter
    reserve: Reserve
    recorder: SlateRecorder
    lookups: Lookups
    replays: Replays
    page: StatusPage

    async def recommend(self, query: Query) -> Answer:
        """A slate, or the next page of one.

        Raises:
            ServiceError: INVALID_FIELD, PAGE_TOKEN_INVALID, PAGE_TOKEN_EXPIRED, OVERLOADED.
        """
        query, journey = await self.admission.admit(query)
        if query.page_token:
            return await self._next(query, journey)
        # An explanation takes longer, and so does waiting for an event, however many are asked for.
        with self.crowd.place(tells=not (query.explain or query.min_watermark.positions)):
            return await self._first(query, journey)

    async def similar(self, query: Query, item_ids: Sequence[str]) -> Listing:
        """Items like the given ones."""
        return _observed(await self.lookups.similar(*await self.admission.admit(query), item_ids))

    async def trending(self, query: Query, category: str) -> Listing:
        """What is popular now."""
        return _observed(await self.lookups.trending(*await self.admission.admit(query), category))

    async def search(self, query: Query, words: str) -> Listing:
        """What matches the words."""
        return _observed(await self.lookups.search(*await self.admission.admit(query), words))

    async def replay(self, query: Query, recommendation_id: str) -> ReplayReport:
        """A served slate, ranked again."""
        return await self.replays.replay(query, recommendation_id)

    async def status(self) -> SystemStatus:
        """One page about the running system."""
        return await self.page.read()

    async def _first(self, query: Query, journey: Journey) -> Answer:
        recommendation_id, began_s = self.ids.next(), query.budget.ticks()
        query = replace(query, seed=seed_of(recommendation_id))
        try:
            slate = await self.pipeline.rank(query, recommendation_id, self.clock(), journey)
            shown = len(slate.served.shown_rows)
            after = Place(recommendation_id, shown, shown) if len(slate.served.reserve_rows) else None
            answer = await self._answer(query, slate, 0, after, journey)
        finally:  # a request that its caller has given up tells most of all
            if not query.explain:
                spent_ms = (query.budget.ticks() - began_s) * 1e3
                self.quality.learn(spent_ms - sum(map(journey.spent_ms, WHATEVER_IS_RANKED)))
        telemetry.RANKED.observe(len(slate.served.candidates))
        telemetry.UNDERFILLED.inc(shown < query.page_size)
        return answer

    async def _next(self, query: Query, journey: Journey) -> Answer:
        with journey.stage("page"):
            cut = await self.pages.cut(query, self.clock(), journey)
        if cut is None:
            provenance = self._counted(journey, query, 0)
            return Answer(provenance, self.tokens.read(query).recommendation_id, (), query.page_token)
        return await self._answer(query, cut.slate, cut.position, cut.next_place, journey)

    async def _answer(
        self, query: Query, slate: RankedSlate, position: int, after: Place | None, journey: Journey
    ) -> Answer:
        """Write the page, then hand the slate over to its side effects."""
        served = slate.served
        entries = await self.writer.entries(slate, served.shown_rows, position, journey, explain=query.explain)
        token = self.tokens.issue(after, query) if after else ""
        provenance = self._counted(journey, query, len(served.candidates))
        slate = replace(slate, served=replace(served, provenance=provenance.without_ids()))
        if not position:
            self.reserve.keep(slate)
        self.recorder.accept(slate.served)
        return Answer(provenance, served.recommendation_id, entries, token)

    def _counted(self, journey: Journey, query: Query, candidates: int) -> Provenance:
        """The answer's header, counted and measured."""
        provenance = journey.provenance(query.configuration.version, query.request_id)
        telemetry.observe(provenance, candidates)
        self.page.tally.count(self.clock(), journey.elapsed_ms, provenance.degraded)
        return provenance


def _observed(listing: Listing) -> Listing:
    telemetry.observe(listing.provenance, len(listing.entries))
    return listing
