"""The response header on the wire."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from winnow.v1 import header_pb2

from shared.domain.provenance import Degradation, Provenance, StageCount, StageTiming


def provenance_to_proto(provenance: Provenance) -> header_pb2.ResponseHeader:
    """The header of an answer."""
    return header_pb2.ResponseHeader(
        model_version=provenance.model_version,
        index_version=provenance.index_version,
        config_version=provenance.config_version,
        watermark=provenance.watermark,
        degraded=[
            header_pb2.Degradation(stage=lost.stage, reason=lost.reason, detail=lost.detail)
            for lost in provenance.degraded
        ],
        stage_timings=[
            header_pb2.StageTiming(stage=timing.stage, duration=_duration(timing.duration_ms))
            for timing in provenance.stage_timings
        ],
        request_id=provenance.request_id,
        stage_counts=[
            header_pb2.StageCount(
                component=count.component, entered=count.entered, removed=count.removed, item_ids=count.item_ids
            )
            for count in provenance.stage_counts
        ],
    )


def provenance_from_proto(message: header_pb2.ResponseHeader) -> Provenance:
    """The header of an answer."""
    return Provenance(
        model_version=message.model_version,
        index_version=message.index_version,
        config_version=message.config_version,
        watermark=message.watermark,
        degraded=tuple(Degradation(lost.stage, lost.reason, lost.detail) for lost in message.degraded),
        stage_timings=tuple(
            StageTiming(timing.stage, _milliseconds(timing.duration)) for timing in message.stage_timings
        ),
        stage_counts=tuple(
            StageCount(count.component, count.entered, count.removed, tuple(count.item_ids))
            for count in message.stage_counts
        ),
        request_id=message.request_id,
    )


def _duration(duration_ms: float) -> Duration:
    seconds, nanos = divmod(round(duration_ms * 1e6), 1_000_000_000)
    return Duration(seconds=seconds, nanos=nanos)


def _milliseconds(duration: Duration) -> float:
    return (duration.seconds * 1_000_000_000 + duration.nanos) / 1e6
