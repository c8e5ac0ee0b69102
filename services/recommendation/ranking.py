"""The ranking stage: as many candidates as the time allows, scored by the Transformer, else in retrieval's order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.recommendation.guarded import Guarded
from services.recommendation.queries import Query
from services.recommendation.ranker_inputs import contents, new_item_ids
from services.recommendation.slate import Pool, Scores, Viewer
from services.recommendation.stages import Journey, Lost
from services.recommendation.surface import Surface
from services.recommendation.values import check_answer, retrieval_scores, weighted_scores
from shared.domain.ranking import Candidates, RankingRequest, RankingResult
from shared.domain.services import Features, Ranking
from shared.domain.watermark import Watermark

ITEMS_SHARE = 0.3
RANK_SHARE = 0.9
"""Parts of what is left that reading new items and ranking may take: the rest is for the answer."""

PACE_SMOOTHING = 0.2
"""Weight of the newest measurement in the ranker's pace."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """The candidates as the ranker saw them, and what they are worth."""

    candidates: Candidates
    scores: Scores


class RankingStage:
    """Asks the ranker. Knows from earlier answers what its bundle has seen, and how fast it is."""

    def __init__(self, ranking: Guarded[Ranking], features: Guarded[Features]) -> None:
        self._ranking = ranking
        self._features = features
        self._data_watermark = ""
        self._pace_ms = 0.0  # a candidate, from answers so far

    def affordable(self, limit: int, least: int, budget_ms: float) -> int:
        """How many candidates can be ranked in time: at most `limit`, not fewer than `least`."""
        if not self._pace_ms:
            return limit
        return min(limit, max(least, int(budget_ms * RANK_SHARE / self._pace_ms)))

    async def with_new_items(self, candidates: Candidates, pool: Pool, journey: Journey) -> Candidates:
        """The columns with the content of those candidates that the ranker's bundle has not seen."""
        new = new_item_ids(pool, self._data_watermark)
        if not new:
            return candidates
        try:
            states = await self._features.ask(
                lambda port: port.items(new, include_vectors=True), journey.budget.share_ms(ITEMS_SHARE)
            )
        except Lost as lost:
            journey.lose("hydrate-items", lost.reason, f"{lost.detail}; new items are ranked without their content")
            return candidates
        return replace(candidates, new_items=contents(states))

    async def scored(self, request: RankingRequest, surface: Surface, journey: Journey) -> Scores:
        """The ranker's scores, or the order of one source where the ranker's own gate asks for it.

        Raises:
            Lost: no usable answer in time.
        """
        result = await self.asked(request, journey)
        if result.keep_retrieval_order or result.keep_neighbour_order:
            return retrieval_scores(request.candidates, result)
        scores = weighted_scores(result, surface.weights_of(result.actions))
        if scores.sunk.any():
            journey.lose("rank", "non-finite-scores", f"{scores.sunk.sum()} candidates without a finite score sank")
        return scores

    async def asked(self, request: RankingRequest, journey: Journey) -> RankingResult:
        """The ranker's answer, checked."""
        budget_ms = journey.budget.share_ms(RANK_SHARE)
        began_s = journey.budget.ticks()
        timed = replace(request, budget_ms=max(1, int(budget_ms)))
        result = await self._ranking.ask(lambda port: port.rank(timed), budget_ms)
        check_answer(result, len(request.candidates))
        self._learn(result, (journey.budget.ticks() - began_s) * 1e3 / len(request.candidates))
        return result

    def _learn(self, result: RankingResult, pace_ms: float) -> None:
        self._pace_ms += (pace_ms - self._pace_ms) * (PACE_SMOOTHING if self._pace_ms else 1.0)
        try:
            Watermark.parse(result.data_watermark)
        except ValueError:
            return  # of another kind of log: as good as not known
        self._data_watermark = result.data_watermark


def ranking_request(query: Query, viewer: Viewer, candidates: Candidates) -> RankingRequest:
    """The question to the ranker, which reads no ids of events; its budget is set when it is asked."""
    return RankingRequest(
        history=replace(viewer.history, event_ids=()),
        candidates=candidates,
        time_ms=query.time_ms,
        user=viewer.profile,
        context=query.context,
        explain=query.explain,
    )
