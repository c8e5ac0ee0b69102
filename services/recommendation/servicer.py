"""RecommendationService and MonitoringService: proto to domain and back, nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from winnow.v1 import monitoring_service_pb2 as monitoring_pb
from winnow.v1 import recommendation_service_pb2 as pb
from winnow.v1.monitoring_service_pb2_grpc import MonitoringServiceServicer
from winnow.v1.recommendation_service_pb2_grpc import RecommendationServiceServicer

from services.recommendation.budget import Budget
from services.recommendation.queries import Answer, Entry, Explanation, Query, page_size_of
from services.recommendation.recommender import Recommender
from services.recommendation.status import SystemStatus
from services.recommendation.traffic import Traffic
from shared.domain.conditions import EVERYTHING, ItemFilter
from shared.domain.ranking import RequestContext
from shared.domain.watermark import Watermark
from shared.kernel.clock import Clock
from shared.kernel.context import remaining_ms, request_id
from shared.kernel.errors import ErrorReason, ServiceError
from shared.wire.events import event_from_proto
from shared.wire.filters import filter_from_proto
from shared.wire.provenance import provenance_to_proto
from shared.wire.ranking import bundle_to_proto, context_from_proto
from shared.wire.times import time_to_proto
from shared.wire.user_state import replay_to_proto

Context = grpc.aio.ServicerContext[Any, Any]

LARGEST_MARGIN_SHARE = 0.2
"""Of a short deadline no more than this is kept for sending the answer."""


class RecommendationServicer(RecommendationServiceServicer):
    """Answers from a `Recommender`.

    Args:
        recommender: what answers.
        clock: the time of requests that say none.
        budget_ms: longest time for an answer.
        margin_ms: part of the caller's deadline that is kept for sending the answer.
    """

    def __init__(self, recommender: Recommender, clock: Clock, budget_ms: int, margin_ms: int) -> None:
        self._recommender = recommender
        self._clock = clock
        self._budget_ms = budget_ms
        self._margin_ms = margin_ms

    async def Recommend(self, request: pb.RecommendRequest, _context: Context) -> pb.RecommendResponse:
        """A slate, or the next page of one."""
        answer = await self._recommender.recommend(self._recommend_query(request))
        return _answer_to_proto(answer)

    async def SimilarItems(self, request: pb.SimilarItemsRequest, _context: Context) -> pb.SimilarItemsResponse:
        """Items like the given ones."""
        query = self._list_query(request.page_size, _filter(request))
        listing = await self._recommender.similar(query, request.item_ids)
        return pb.SimilarItemsResponse(
            header=provenance_to_proto(listing.provenance), items=map(_entry_to_proto, listing.entries)
        )

    async def TrendingItems(self, request: pb.TrendingItemsRequest, _context: Context) -> pb.TrendingItemsResponse:
        """What is popular now."""
        query = self._list_query(request.page_size, _filter(request))
        listing = await self._recommender.trending(query, request.category)
        return pb.TrendingItemsResponse(
            header=provenance_to_proto(listing.provenance), items=map(_entry_to_proto, listing.entries)
        )

    async def SearchItems(self, request: pb.SearchItemsRequest, _context: Context) -> pb.SearchItemsResponse:
        """What matches the words."""
        query = self._list_query(request.page_size, _filter(request), user_id=request.user_id)
        listing = await self._recommender.search(query, request.query)
        return pb.SearchItemsResponse(
            header=provenance_to_proto(listing.provenance), items=map(_entry_to_proto, listing.entries)
        )

    async def Replay(self, request: pb.ReplayRequest, _context: Context) -> pb.ReplayResponse:
        """A served slate, ranked again."""
        report = await self._recommender.replay(self._list_query(0, EVERYTHING), request.recommendation_id)
        return pb.ReplayResponse(
            header=provenance_to_proto(report.provenance),
            served_items=map(_entry_to_proto, report.served),
            replayed_items=map(_entry_to_proto, report.replayed),
            identical=report.identical,
            differences=report.differences,
            served_time=time_to_proto(report.served_ms),
        )

    def _recommend_query(self, request: pb.RecommendRequest) -> Query:
        context = context_from_proto(request.context)
        return Query(
            budget=self._budget(),
            context=context if context.time_ms else _at(context, self._clock()),
            user_id=request.user_id,
            session_id=request.session.session_id,
            session_events=tuple(map(event_from_proto, request.session.events)),
            surface=request.surface,
            page_size=page_size_of(request.page_size),
            page_token=request.page_token,
            filter=_filter(request),
            candidate_item_ids=tuple(request.candidate_item_ids),
            explain=request.explain,
            min_watermark=_watermark(request.min_watermark),
            request_id=request_id(),
            funnel_ids=request.funnel_ids,
        )

    def _list_query(self, page_size: int, wanted: ItemFilter, user_id: str = "") -> Query:
        return Query(
            budget=self._budget(),
            context=RequestContext(time_ms=self._clock()),
            user_id=user_id,
            page_size=page_size_of(page_size),
            filter=wanted,
            request_id=request_id(),
        )

    def _budget(self) -> Budget:
        left_ms = remaining_ms()
        if left_ms is None:
            return Budget.of(self._budget_ms)
        margin_ms = min(self._margin_ms, left_ms * LARGEST_MARGIN_SHARE)
        return Budget.of(min(self._budget_ms, left_ms - margin_ms))


class MonitoringServicer(MonitoringServiceServicer):
    """Shows the running system."""

    def __init__(self, recommender: Recommender) -> None:
        self._recommender = recommender

    async def GetStatus(
        self, _request: monitoring_pb.GetStatusRequest, _context: Context
    ) -> monitoring_pb.GetStatusResponse:
        """One page about the running system."""
        return _status_to_proto(await self._recommender.status())


_Filtered = pb.RecommendRequest | pb.SimilarItemsRequest | pb.TrendingItemsRequest | pb.SearchItemsRequest


def _filter(request: _Filtered) -> ItemFilter:
    return filter_from_proto(request.filter) if request.HasField("filter") else EVERYTHING


def _at(context: RequestContext, time_ms: int) -> RequestContext:
    return RequestContext(context.locale, context.device, time_ms, context.attributes)


def _watermark(text: str) -> Watermark:
    try:
        return Watermark.parse(text)
    except ValueError as error:
        metadata = {"watermark": text[:64]}
        raise ServiceError(ErrorReason.WATERMARK_INVALID, f"min_watermark: {error}", metadata=metadata) from error


def _answer_to_proto(answer: Answer) -> pb.RecommendResponse:
    return pb.RecommendResponse(
        header=provenance_to_proto(answer.provenance),
        recommendation_id=answer.recommendation_id,
        items=map(_entry_to_proto, answer.entries),
        next_page_token=answer.next_page_token,
    )


def _entry_to_proto(entry: Entry) -> pb.RecommendedItem:
    return pb.RecommendedItem(
        item_id=entry.item_id,
        score=entry.score,
        position=entry.position,
        sources=(pb.ItemSource(source=source.source, rank=source.rank, score=source.score) for source in entry.sources),
        explanation=None if entry.explanation is None else _explanation_to_proto(entry.explanation),
    )


def _explanation_to_proto(explanation: Explanation) -> pb.Explanation:
    return pb.Explanation(
        sentence=explanation.sentence,
        actions=_actions_to_proto(explanation),
        adjustments=(pb.Adjustment(rule=rule, factor=factor) for rule, factor in explanation.adjustments),
        expected_rating=explanation.expected_rating,
        because_of=(
            pb.InfluentialItem(item_id=each.item_id, event_id=each.event_id, influence=each.influence)
            for each in explanation.because_of
        ),
        influence_method=int(explanation.influence_method),  # type: ignore[arg-type]  # codes are equal by definition
    )


def _actions_to_proto(explanation: Explanation) -> Iterable[pb.ActionContribution]:
    for action in explanation.actions:
        yield pb.ActionContribution(
            event_type=int(action.event_type),  # type: ignore[arg-type]  # an open enum
            probability=action.probability,
            weight=action.weight,
            parts=(pb.LogitPart(name=name, value=value) for name, value in action.parts),
            calibration_scale=action.calibration_scale,
            calibration_offset=action.calibration_offset,
        )


def _status_to_proto(status: SystemStatus) -> monitoring_pb.GetStatusResponse:
    projection = status.projection
    return monitoring_pb.GetStatusResponse(
        release=status.release,
        services=(
            monitoring_pb.ServiceStatus(
                name=each.name,
                state=int(each.state),  # type: ignore[arg-type]  # codes are equal by definition
                detail=each.detail,
            )
            for each in status.services
        ),
        head_watermark=projection.head_watermark if projection else "",
        feature_watermark=projection.watermark if projection else "",
        model_version=status.model_version,
        index_version=status.index_version,
        config_version=status.config_version,
        users=projection.users if projection else 0,
        items=projection.items if projection else 0,
        started_time=time_to_proto(status.started_ms),
        recommend_count=status.tally.answered,
        degraded_count=status.tally.degraded,
        lost_slates=status.lost_slates,
        feature_replay=replay_to_proto(projection.replay) if projection and projection.replay else None,
        lag_records=projection.lag_records if projection else 0,
        traffic=_traffic_to_proto(status.traffic),
        quality_factor=status.quality_factor,
        bundle=bundle_to_proto(status.bundle) if status.bundle else None,
    )


def _traffic_to_proto(traffic: Traffic) -> monitoring_pb.TrafficStatus:
    return monitoring_pb.TrafficStatus(
        window_seconds=traffic.window_seconds,
        answers_per_second=traffic.answers_per_second,
        p50_ms=traffic.p50_ms,
        p99_ms=traffic.p99_ms,
        degraded_share=traffic.degraded_share,
        losses=(
            monitoring_pb.LossCount(stage=stage, reason=reason, answers=answers)
            for stage, reason, answers in traffic.losses
        ),
    )
