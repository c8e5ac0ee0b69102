"""CandidateGenerationService: proto to domain and back, nothing else."""

from __future__ import annotations

import grpc
from winnow.v1 import candidate_generation_service_pb2 as pb
from winnow.v1.candidate_generation_service_pb2_grpc import CandidateGenerationServiceServicer

from shared.domain.services import CandidateGeneration
from shared.kernel.clock import Clock
from shared.kernel.context import remaining_ms
from shared.kernel.errors import FieldViolation, invalid_fields
from shared.wire.retrieval import retrieval_request_from_proto, retrieval_result_to_proto

_WITHOUT_DEADLINE_MS = 1_000.0

Context = grpc.aio.ServicerContext[pb.RetrieveCandidatesRequest, pb.RetrieveCandidatesResponse]


class CandidateGenerationServicer(CandidateGenerationServiceServicer):
    """Answers from a `CandidateGeneration`.

    Args:
        candidates: what retrieves.
        clock: the time of requests that say none.
    """

    def __init__(self, candidates: CandidateGeneration, clock: Clock) -> None:
        self._candidates, self._clock = candidates, clock

    async def RetrieveCandidates(
        self, request: pb.RetrieveCandidatesRequest, _context: Context
    ) -> pb.RetrieveCandidatesResponse:
        """Candidates of every source, merged."""
        try:
            question = retrieval_request_from_proto(request, self._clock())
        except ValueError as error:
            raise invalid_fields([FieldViolation("history", str(error))]) from error
        left_ms = remaining_ms()
        budget_ms = _WITHOUT_DEADLINE_MS if left_ms is None else float(left_ms)
        return retrieval_result_to_proto(await self._candidates.retrieve(question, budget_ms=budget_ms))
