"""The ranker behind Ray Serve's gRPC ingress."""

from __future__ import annotations

import grpc
from winnow.v1.ranking_service_pb2_grpc import RankingServiceStub

from shared.clients.answers import answer_of
from shared.domain.ranking import RankingRequest, RankingResult
from shared.wire.ranking import ranking_request_to_proto, ranking_result_from_proto


class ServeRanking:
    """Meets the port `Ranking` by calling the ranker's replicas.

    Args:
        channel: open, of `shared.kernel.client.open_channel`. Its keepalive must be off: Ray Serve cuts off who pings.
        token: what the replicas ask for in every call.
    """

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._stub = RankingServiceStub(channel)
        self._metadata = (("authorization", f"Bearer {token}"),)

    async def rank(self, request: RankingRequest) -> RankingResult:
        """Probabilities for each candidate.

        Raises:
            ServiceError: see `answer_of`; a replica's own are NO_BUNDLE, OVERLOADED and the like.
        """
        message = ranking_request_to_proto(request)
        call = self._stub.Rank(message, timeout=request.budget_ms / 1000, metadata=self._metadata)
        answer = await answer_of(call)
        return ranking_result_from_proto(answer)
