"""A served slate ranked again from its recorded inputs, and every difference in a sentence.

Recorded are the history, the candidates as the ranker saw them, the weights, what the rules went by, and the seed with
what chance went by. Bundle and configuration are today's; where they are others than then, that is told as the reason
of a difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import grpc
import numpy as np

from services.recommendation.dependencies import Dependencies
from services.recommendation.queries import Entry, Query, ReplayReport
from services.recommendation.ranked_slate import RankedSlate, entries
from services.recommendation.ranking import RankingStage
from services.recommendation.recording import SlateRecorder
from services.recommendation.selecting import reselected
from services.recommendation.slate import Scores
from services.recommendation.stages import Journey, Lost
from services.recommendation.surfaces import Surfaces
from services.recommendation.values import retrieval_scores, weighted_scores
from shared.domain.ranking import RankingRequest, RankingResult
from shared.domain.slates import ServedSlate
from shared.kernel.errors import ErrorReason, Reason, ServiceError

RECOMMENDATION_NOT_FOUND = Reason("RECOMMENDATION_NOT_FOUND", grpc.StatusCode.NOT_FOUND)

TOLERANCE = 1e-5
"""Scores that differ by less, relative to those above 1, are equal: the log keeps 32 bits."""

DIFFERENCES_TOLD = 20
SLATE_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Replays:
    """Replays slates with the pipeline's own stages."""

    ports: Dependencies
    recorder: SlateRecorder
    ranking: RankingStage
    surfaces: Surfaces

    async def replay(self, query: Query, recommendation_id: str) -> ReplayReport:
        """Rank the slate again.

        Raises:
            ServiceError: RECOMMENDATION_NOT_FOUND, or DEPENDENCY_UNAVAILABLE when the log cannot be read.
        """
        journey = Journey(query.budget)
        served = await self._served(recommendation_id, journey)
        with journey.stage("rank"):
            scores = await self._scores(served, journey)
        with journey.stage("select"):
            again = _again(served, scores, self.surfaces)
        before = entries(RankedSlate.logged(served), served.shown_rows, 0)
        after = entries(again, again.served.shown_rows, 0)
        effects = (*_effects(before, after), *_chances(served, again.served))
        reasons = tuple(_reasons(served, journey, self.surfaces.version)) if effects else ()
        provenance = journey.provenance(self.surfaces.version, query.request_id)
        return ReplayReport(provenance, before, after, reasons + effects, served.served_ms)

    async def _served(self, recommendation_id: str, journey: Journey) -> ServedSlate:
        """The slate, also while it is still on its way to the log."""
        if waiting := self.recorder.find(recommendation_id):
            return waiting
        try:
            served = await self.ports.feedback.ask(
                lambda port: port.slate(recommendation_id), journey.budget.share_ms(SLATE_SHARE)
            )
        except Lost as lost:
            raise ServiceError(
                ErrorReason.DEPENDENCY_UNAVAILABLE,
                f"the log of served slates cannot be read ({lost.reason}); try again later",
                metadata={"dependency": self.ports.feedback.name, "code": lost.reason},
            ) from lost
        if served is None:
            raise ServiceError(
                RECOMMENDATION_NOT_FOUND,
                f"no served slate has the id {recommendation_id!r}: it was never served, was erased, or is too old",
                metadata={"recommendationId": recommendation_id},
            )
        return served

    async def _scores(self, served: ServedSlate, journey: Journey) -> Scores:
        """Scores from the ranker where it had a part in the slate; from the recorded probabilities where it is lost."""
        if not served.actions or not len(served.candidates):
            return retrieval_scores(served.candidates)
        journey.model_version = served.provenance.model_version
        weights = dict(zip(served.actions, served.action_weights, strict=True))
        try:
            result = await self.ranking.asked(_request(served), journey)
            journey.model_version = result.model_version
        except Lost as lost:
            journey.lose("rank", lost.reason, f"{lost.detail}; used instead: the recorded probabilities")
            result = _recorded(served)
        if not any(served.action_weights):
            return retrieval_scores(served.candidates, result)
        try:
            return weighted_scores(result, tuple(weights.get(action, 0.0) for action in result.actions))
        except Lost as lost:
            journey.lose("rank", lost.reason, f"{lost.detail}; used instead: retrieval's order")
            return retrieval_scores(served.candidates)


def _request(served: ServedSlate) -> RankingRequest:
    return RankingRequest(
        history=served.history,
        candidates=served.candidates,
        time_ms=served.context.time_ms,
        user=served.user,
        context=served.context,
    )


def _recorded(served: ServedSlate) -> RankingResult:
    nothing = np.empty(0, np.float32)
    return RankingResult(served.actions, served.probabilities, nothing, None, served.provenance.model_version)


def _again(served: ServedSlate, scores: Scores, surfaces: Surfaces) -> RankedSlate:
    shown = len(served.shown_rows)
    order = reselected(served, scores, surfaces.recorded(served.surface, served.arm))
    record = replace(
        served,
        values=order.values,
        shown_rows=order.rows[:shown],
        reserve_rows=order.rows[shown:],
        propensities=order.propensities_of(shown),
    )
    return RankedSlate(record, order.adjustments, order.moves)


def _effects(before: tuple[Entry, ...], after: tuple[Entry, ...]) -> Iterator[str]:
    """What came out differently, entry by entry."""
    told = list(_moves(before, after))
    yield from told[:DIFFERENCES_TOLD]
    if len(told) > DIFFERENCES_TOLD:
        yield f"and {len(told) - DIFFERENCES_TOLD} more entries differ"


def _moves(before: tuple[Entry, ...], after: tuple[Entry, ...]) -> Iterator[str]:
    now = {entry.item_id: entry for entry in after}
    for entry in before:
        other = now.pop(entry.item_id, None)
        if other is None:
            yield f"{entry.item_id} stood at position {entry.position} and is not on the page now"
        elif other.position != entry.position:
            yield f"{entry.item_id} stood at position {entry.position} and stands at {other.position} now"
        elif abs(other.score - entry.score) > TOLERANCE * max(1.0, abs(entry.score)):
            yield f"the score of {entry.item_id} was {entry.score:.6g} and is {other.score:.6g} now"
    for entry in now.values():
        yield f"{entry.item_id} stands at position {entry.position} now and was not on the page"


def _chances(before: ServedSlate, after: ServedSlate) -> Iterator[str]:
    """Positions whose entry has another probability now."""
    for position, (then, now) in enumerate(
        zip(before.propensities.tolist(), after.propensities.tolist(), strict=False)
    ):
        if abs(then - now) > TOLERANCE:
            yield f"position {position} had its entry with probability {then:.6g} and has it with {now:.6g} now"


def _reasons(served: ServedSlate, journey: Journey, config_version: str) -> Iterator[str]:
    """What is not as it was when the slate was served."""
    then = served.provenance
    if journey.model_version != then.model_version:
        yield f"bundle {then.model_version or '(none)'} ranked it then, bundle {journey.model_version or '(none)'} now"
    if config_version != then.config_version:
        yield f"the configuration was {then.config_version or '(none)'} then and is {config_version} now"
