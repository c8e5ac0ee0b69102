"""`winnow.v1.FeedbackService`: proto to domain to proto."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import grpc
from winnow.v1 import event_pb2, slate_pb2
from winnow.v1 import feedback_service_pb2 as pb
from winnow.v1 import feedback_service_pb2_grpc as pb_grpc

from services.feedback.intake import LogIntake
from services.feedback.pipelining import BATCHES_IN_FLIGHT, in_order
from services.feedback.sent_events import read_events
from services.feedback.statuses import statuses
from shared.domain.intake import Recorded
from shared.domain.services import Feedback
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.kernel.context import annotate
from shared.kernel.errors import ErrorReason, FieldViolation, Reason, ServiceError
from shared.kernel.validation import violations
from shared.wire.log import fill_record
from shared.wire.slates import slate_from_proto, slate_to_proto

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

RECOMMENDATION_NOT_FOUND: Final = Reason("RECOMMENDATION_NOT_FOUND", grpc.StatusCode.NOT_FOUND)
DEFAULT_BATCH: Final = 500
BATCH_LIMIT: Final = 5_000


class FeedbackServicer(pb_grpc.FeedbackServiceServicer):
    """Takes events and slates, hands out the log.

    Args:
        intake: where events and slates go.
        feedback: where the log comes from.
    """

    def __init__(self, intake: LogIntake, feedback: Feedback) -> None:
        self._intake = intake
        self._feedback = feedback

    async def RecordEvents(self, request: pb.RecordEventsRequest, context: Context) -> pb.RecordEventsResponse:
        """A batch; a status an event."""
        recorded = await self._record(request.events)
        annotate(events=len(request.events), refused=len(recorded.refused))
        found = statuses(recorded, len(request.events))
        return pb.RecordEventsResponse(statuses=found, watermark=str(recorded.watermark))

    async def StreamEvents(
        self, requests: AsyncIterable[pb.StreamEventsRequest], context: Context
    ) -> AsyncIterator[pb.StreamEventsResponse]:
        """Batches, acknowledged in their order. Several wait for the disk at once, so that they share a commit."""
        async with aclosing(in_order(requests, self._record_batch, BATCHES_IN_FLIGHT)) as answers:
            async for answer in answers:
                yield answer

    async def TailEvents(self, request: pb.TailEventsRequest, context: Context) -> AsyncIterator[pb.TailEventsResponse]:
        """Records behind a position."""
        size = min(request.batch_size or DEFAULT_BATCH, BATCH_LIMIT)
        after = _watermark(request.after_watermark)
        async for batch in self._feedback.tail(after, follow=request.follow, batch_size=size):
            answer = pb.TailEventsResponse(watermark=str(batch.watermark), head_watermark=str(batch.head))
            for record in batch.records:
                fill_record(answer.records.add(), record)
            yield answer

    async def RecordSlates(self, request: pb.RecordSlatesRequest, context: Context) -> pb.RecordSlatesResponse:
        """Served slates; a status a slate."""
        read = [_slate(message, f"slates[{row}]") for row, message in enumerate(request.slates)]
        broken = {row: found for row, (_, found) in enumerate(read) if found}
        recorded = await self._intake.record_slates([slate for slate, _ in read], broken)
        annotate(slates=len(read), refused=len(recorded.refused))
        found = statuses(recorded, len(read))
        return pb.RecordSlatesResponse(watermark=str(recorded.watermark), statuses=found)

    async def GetSlate(self, request: pb.GetSlateRequest, context: Context) -> pb.GetSlateResponse:
        """One slate."""
        slate = await self._feedback.slate(request.recommendation_id)
        if slate is None:
            message = f"no slate {request.recommendation_id}: it was never served, is past retention, or was erased"
            metadata = {"recommendationId": request.recommendation_id}
            raise ServiceError(RECOMMENDATION_NOT_FOUND, message, metadata=metadata)
        return pb.GetSlateResponse(slate=slate_to_proto(slate))

    async def _record_batch(self, request: pb.StreamEventsRequest) -> pb.StreamEventsResponse:
        recorded = await self._record(request.events)
        found = statuses(recorded, len(request.events))
        return pb.StreamEventsResponse(statuses=found, watermark=str(recorded.watermark))

    async def _record(self, messages: Sequence[event_pb2.Event]) -> Recorded:
        read = read_events(messages, *self._intake.moment())
        return await self._intake.append_checked(read.facts, read.broken)


def _slate(message: slate_pb2.ServedSlate, path: str) -> tuple[ServedSlate | None, tuple[FieldViolation, ...]]:
    """The slate, None where it cannot be read, and what its single fields break."""
    found = violations(message, path)
    try:
        return slate_from_proto(message), found
    except ValueError as error:
        return None, (*found, FieldViolation(path, f"its columns do not fit together: {error}"))


def _watermark(text: str) -> Watermark:
    try:
        return Watermark.parse(text)
    except ValueError as error:
        raise ServiceError(ErrorReason.WATERMARK_INVALID, str(error), metadata={"watermark": text[:64]}) from error
