"""The ranker behind Ray Serve's gRPC ingress."""

from __future__ import annotations

import grpc
from winnow.v1.ranking_service_pb2_grpc import RankingServiceStub

from shared.domain.ranking import RankingRequest, RankingResult
from shared.kernel.errors import from_rpc_error
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
            ServiceError: as the replica told, or DEPENDENCY_UNAVAILABLE, DEADLINE_EXCEEDED of the transport.
        """
        message = ranking_request_to_proto(request)
        try:
            answer = await self._stub.Rank(message, timeout=request.budget_ms / 1000, metadata=self._metadata)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        return ranking_result_from_proto(answer)
