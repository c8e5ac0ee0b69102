"""Candidate generation over gRPC."""

from __future__ import annotations

import grpc
from winnow.v1.candidate_generation_service_pb2_grpc import CandidateGenerationServiceStub

from shared.domain.retrieval import RetrievalRequest, RetrievalResult
from shared.kernel.errors import from_rpc_error
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
            ServiceError: as the server told, or DEPENDENCY_UNAVAILABLE, DEADLINE_EXCEEDED of the transport.
        """
        try:
            answer = await self._stub.RetrieveCandidates(retrieval_request_to_proto(request), timeout=budget_ms / 1000)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        return retrieval_result_from_proto(answer)
