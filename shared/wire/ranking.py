"""The ranker's question and answer on the wire."""

from __future__ import annotations

import numpy as np
from winnow.v1 import ranking_service_pb2 as pb
from winnow.v1 import slate_pb2

from shared.domain.bundles import TrainedBundle
from shared.domain.provenance import Provenance
from shared.domain.ranking import RankingRequest, RankingResult, RequestContext, ScoreParts
from shared.wire.candidates import candidates_from_proto, candidates_to_proto
from shared.wire.events import history_from_proto, history_to_proto
from shared.wire.items import attribute_to_proto, attributes_from_proto, user_from_proto, user_to_proto
from shared.wire.provenance import provenance_to_proto
from shared.wire.times import time_from_proto, time_to_proto

DEFAULT_BUDGET_MS = 1_000
LONGEST_BUDGET_MS = 60_000


def context_to_proto(context: RequestContext) -> slate_pb2.RequestContext:
    """The moment of a request."""
    return slate_pb2.RequestContext(
        locale=context.locale,
        device=context.device,
        time=time_to_proto(context.time_ms),
        attributes=[attribute_to_proto(name, value) for name, value in context.attributes.items()],
    )


def context_from_proto(message: slate_pb2.RequestContext) -> RequestContext:
    """The moment of a request."""
    attributes = attributes_from_proto(message.attributes)
    return RequestContext(message.locale, message.device, time_from_proto(message.time), attributes)


def ranking_request_to_proto(request: RankingRequest) -> pb.RankRequest:
    """The question."""
    return pb.RankRequest(
        history=history_to_proto(request.history),
        user=None if request.user is None else user_to_proto(request.user),
        context=context_to_proto(request.context),
        candidates=candidates_to_proto(request.candidates),
        budget_ms=request.budget_ms,
        explain=request.explain,
        request_time=time_to_proto(request.time_ms),
        leave_out=request.leave_out,
        describe_bundle=request.describe_bundle,
    )


def ranking_request_from_proto(message: pb.RankRequest, now_ms: int) -> RankingRequest:
    """The question; an unset time is now, an unset budget the default.

    Raises:
        ValueError: columns of different lengths; the message names them.
    """
    return RankingRequest(
        history=history_from_proto(message.history),
        candidates=candidates_from_proto(message.candidates),
        time_ms=time_from_proto(message.request_time) or now_ms,
        user=user_from_proto(message.user) if message.HasField("user") else None,
        context=context_from_proto(message.context),
        budget_ms=min(message.budget_ms or DEFAULT_BUDGET_MS, LONGEST_BUDGET_MS),
        explain=message.explain,
        leave_out=message.leave_out,
        describe_bundle=message.describe_bundle,
    )


def ranking_result_to_proto(result: RankingResult, provenance: Provenance) -> pb.RankResponse:
    """The answer."""
    return pb.RankResponse(
        header=provenance_to_proto(provenance),
        actions=result.actions,
        probabilities=result.probabilities.ravel().tolist(),
        ratings=result.ratings.tolist(),
        parts=None if result.parts is None else _parts_to_proto(result.parts),
        data_watermark=result.data_watermark,
        keep_retrieval_order=result.keep_retrieval_order,
        keep_neighbour_order=result.keep_neighbour_order,
        without_event=result.without_event.ravel().tolist(),
        bundle=None if result.bundle is None else bundle_to_proto(result.bundle),
    )


def ranking_result_from_proto(message: pb.RankResponse) -> RankingResult:
    """The answer.

    Raises:
        ValueError: the probabilities do not divide into the actions, or those without an event into both.
    """
    actions = tuple(message.actions)
    probabilities = np.array(message.probabilities, np.float32).reshape(-1, len(actions))
    return RankingResult(
        actions=actions,
        probabilities=probabilities,
        ratings=np.array(message.ratings, np.float32),
        parts=_parts_from_proto(message.parts, probabilities.shape) if message.HasField("parts") else None,
        model_version=message.header.model_version,
        data_watermark=message.data_watermark,
        keep_retrieval_order=message.keep_retrieval_order,
        keep_neighbour_order=message.keep_neighbour_order,
        without_event=np.array(message.without_event, np.float32).reshape(-1, *probabilities.shape)
        if message.without_event
        else np.empty((0, 0, 0), np.float32),
        bundle=_bundle_from_proto(message.bundle) if message.HasField("bundle") else None,
    )


def bundle_to_proto(bundle: TrainedBundle) -> pb.TrainedBundle:
    """What was trained."""
    return pb.TrainedBundle(
        version=bundle.version,
        created_time=time_to_proto(bundle.created_ms),
        trained_events=bundle.trained_events,
        trained_until_time=time_to_proto(bundle.trained_until_ms),
        metrics=[pb.BundleMetric(name=name, value=value) for name, value in sorted(bundle.metrics.items())],
    )


def _bundle_from_proto(message: pb.TrainedBundle) -> TrainedBundle:
    return TrainedBundle(
        version=message.version,
        created_ms=time_from_proto(message.created_time),
        trained_events=message.trained_events,
        trained_until_ms=time_from_proto(message.trained_until_time),
        metrics={metric.name: metric.value for metric in message.metrics},
    )


def _parts_to_proto(parts: ScoreParts) -> pb.ScoreParts:
    return pb.ScoreParts(
        names=parts.names,
        values=parts.values.ravel().tolist(),
        calibration_scales=parts.scales.tolist(),
        calibration_offsets=parts.offsets.tolist(),
    )


def _parts_from_proto(message: pb.ScoreParts, shape: tuple[int, ...]) -> ScoreParts:
    return ScoreParts(
        names=tuple(message.names),
        values=np.array(message.values, np.float32).reshape(*shape, len(message.names)),
        scales=np.array(message.calibration_scales, np.float32),
        offsets=np.array(message.calibration_offsets, np.float32),
    )
