"""The ranker's methods: proto to domain to proto."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import grpc
import numpy as np
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from winnow.v1.ranking_service_pb2 import RankRequest, RankResponse

from services.ranking.ingress import RANK, decode
from services.ranking.scoring import ScoringQueue
from shared.domain.bundles import TrainedBundle
from shared.domain.provenance import Provenance, StageTiming
from shared.domain.ranking import Candidates, RankingRequest
from shared.kernel.clock import Clock
from shared.kernel.context import annotate, detail, request_id
from shared.kernel.errors import FieldViolation, Reason, ServiceError, invalid_fields
from shared.kernel.readiness import LIVE, Readiness
from shared.wire.ranking import ranking_request_from_proto, ranking_result_to_proto

UNKNOWN_SERVICE: Final = Reason("UNKNOWN_SERVICE", grpc.StatusCode.NOT_FOUND)
"""The health protocol asks for this code; https://github.com/grpc/grpc/blob/master/doc/health-checking.md."""
FINITE_COLUMNS: Final = ("ages_days", "popularity", "trend", "retrieval_scores", "neighbour_scores")


class RankingServicer:
    """`winnow.v1.RankingService`, and `grpc.health.v1.Health` for it."""

    def __init__(
        self,
        queue: ScoringQueue,
        readiness: Readiness,
        clock: Clock,
        bundle: Callable[[], TrainedBundle | None] = lambda: None,
    ) -> None:
        self._queue = queue
        self._bundle = bundle
        self._readiness = readiness
        self._clock = clock

    async def rank(self, raw: bytes) -> RankResponse:
        """Score candidates."""
        arrived = self._queue.now()
        request = self._domain(decode(RankRequest, raw))
        scored = await self._queue.score(request, arrived)
        annotate(candidates=len(request.candidates), version=scored.result.model_version)
        timings = (StageTiming("queue", scored.waited_ms), StageTiming("forward", scored.forward_ms))
        detail(stages_ms={timing.stage: round(timing.duration_ms, 1) for timing in timings})
        provenance = Provenance(
            model_version=scored.result.model_version, stage_timings=timings, request_id=request_id()
        )
        result = replace(scored.result, bundle=self._bundle()) if request.describe_bundle else scored.result
        return ranking_result_to_proto(result, provenance)

    async def check(self, raw: bytes) -> HealthCheckResponse:
        """Whether a bundle is loaded, for the server and for its one service; `live`: whether the replica answers."""
        service = decode(HealthCheckRequest, raw).service
        if service == LIVE:
            return HealthCheckResponse(status=HealthCheckResponse.SERVING)
        if service not in {"", RANK.service}:
            raise ServiceError(UNKNOWN_SERVICE, f"{service[:128]!r} is not served here, {RANK.service} is")
        serving = HealthCheckResponse.SERVING if self._readiness.ready else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse(status=serving)

    def _domain(self, message: RankRequest) -> RankingRequest:
        try:
            request = ranking_request_from_proto(message, self._clock())
        except ValueError as error:
            raise invalid_fields([FieldViolation("", str(error))]) from error
        if broken := list(_broken(request.candidates)):
            raise invalid_fields(broken)
        return request


def _broken(candidates: Candidates) -> Iterator[FieldViolation]:
    """What no rule in the contract can say."""
    ids = candidates.item_ids
    if not ids:
        yield FieldViolation("candidates.item_ids", "must name at least one item")
    if len(set(ids)) != len(ids):
        yield FieldViolation("candidates.item_ids", f"{len(ids) - len(set(ids))} items are named more than once")
    for name in FINITE_COLUMNS:
        values = getattr(candidates, name)
        for row in np.flatnonzero(~np.isfinite(values))[:1]:
            yield FieldViolation(f"candidates.{name}[{row}]", f"is {values[row]}, must be a finite number")
