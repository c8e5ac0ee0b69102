"""Retrieval's question and answer on the wire."""

from __future__ import annotations

from winnow.v1 import candidate_generation_service_pb2 as pb

from shared.domain.retrieval import RetrievalRequest, RetrievalResult
from shared.wire.candidates import source_hits_from_proto, source_hits_to_proto
from shared.wire.events import history_from_proto, history_to_proto
from shared.wire.filters import filter_from_proto, filter_to_proto
from shared.wire.items import user_from_proto, user_to_proto
from shared.wire.provenance import provenance_from_proto, provenance_to_proto
from shared.wire.times import time_from_proto, time_to_proto


def retrieval_request_to_proto(request: RetrievalRequest) -> pb.RetrieveCandidatesRequest:
    """The question."""
    return pb.RetrieveCandidatesRequest(
        history=history_to_proto(request.history),
        user=None if request.user is None else user_to_proto(request.user),
        quotas=[pb.SourceQuota(source=source, count=count) for source, count in request.quotas.items()],
        filter=filter_to_proto(request.filter) if request.filter else None,
        request_time=time_to_proto(request.time_ms),
        seed_item_ids=request.seed_item_ids,
        query_text=request.query_text,
        seed=request.seed,
    )


def retrieval_request_from_proto(message: pb.RetrieveCandidatesRequest, now_ms: int) -> RetrievalRequest:
    """The question; an unset time is now.

    Raises:
        ValueError: the history's columns have different lengths.
    """
    return RetrievalRequest(
        history=history_from_proto(message.history),
        time_ms=time_from_proto(message.request_time) or now_ms,
        user=user_from_proto(message.user) if message.HasField("user") else None,
        quotas={quota.source: quota.count for quota in message.quotas},
        filter=filter_from_proto(message.filter),
        seed_item_ids=tuple(message.seed_item_ids),
        query_text=message.query_text,
        seed=message.seed,
    )


def retrieval_result_to_proto(result: RetrievalResult) -> pb.RetrieveCandidatesResponse:
    """The answer."""
    return pb.RetrieveCandidatesResponse(
        header=provenance_to_proto(result.provenance),
        item_ids=result.item_ids,
        sources=[source_hits_to_proto(hits) for hits in result.sources],
    )


def retrieval_result_from_proto(message: pb.RetrieveCandidatesResponse) -> RetrievalResult:
    """The answer."""
    return RetrievalResult(
        tuple(message.item_ids),
        tuple(source_hits_from_proto(hits) for hits in message.sources),
        provenance_from_proto(message.header),
    )
