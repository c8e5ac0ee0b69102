"""Candidate generation over gRPC."""

from __future__ import annotations

import grpc
from winnow.v1.candidate_generation_service_pb2_grpc import CandidateGenerationServiceStub

from shared.clients.answers import answer_of
from shared.domain.retrieval import RetrievalRequest, RetrievalResult
from shared.wire.retrieval import retrieval_request_to_proto, retrieval_result_from_proto

IDEMPOTENT_METHODS = ("winnow.v1.CandidateGenerationService/RetrieveCandidates",)
"""For `ChannelOptions`: repeated when the service is UNAVAILABLE."""


class GrpcCandidateGeneration:
    """Meets the port `CandidateGeneration` by calling a server.

    Args:
        channel: open, of `shared.kernel.client.open_channel`.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = CandidateGenerationServiceStub(channel)

    async def retrieve(self, request: RetrievalRequest, *, budget_ms: float) -> RetrievalResult:
        """Candidates of every source, merged.

        Raises:
            ServiceError: see `answer_of`.
        """
        message = retrieval_request_to_proto(request)
        answer = await answer_of(self._stub.RetrieveCandidates(message, timeout=budget_ms / 1000))
        return retrieval_result_from_proto(answer)
