"""The event log over gRPC: what other services read and write, and what comes in from outside."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

import grpc
from google.protobuf.message import Message as ProtobufMessage
from google.rpc import status_pb2
from winnow.v1 import catalog_service_pb2, feedback_service_pb2, privacy_service_pb2
from winnow.v1.catalog_service_pb2_grpc import CatalogServiceStub
from winnow.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from winnow.v1.privacy_service_pb2_grpc import PrivacyServiceStub

from shared.clients.answers import answer_of
from shared.domain.event_log import LogBatch
from shared.domain.events import Event
from shared.domain.intake import ErasedStore, Recorded, UserErasure, UserExport
from shared.domain.items import Item, User
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.kernel.errors import ErrorReason, ServiceError, from_rpc_error, from_status
from shared.wire.events import event_from_proto, event_to_proto
from shared.wire.items import item_to_proto, user_from_proto, user_to_proto
from shared.wire.log import record_from_proto
from shared.wire.slates import slate_from_proto, slate_to_proto
from shared.wire.times import time_from_proto

EVENTS_A_CALL: Final = 1_000
ITEMS_A_CALL: Final = 1_000
SLATES_A_CALL: Final = 100
CALL_BYTES: Final = 3 << 20
"""A call is closed before it grows larger: servers refuse messages above 4 MiB."""
WRITE_TIMEOUT_S: Final = 10.0
ERASE_TIMEOUT_S: Final = 60.0
NOT_FOUND: Final = "RECOMMENDATION_NOT_FOUND"
LOST_STATUS: Final = "Internal error from Core"
"""What grpc.aio makes of the server's status when that comes while the client is sending: the status itself is lost."""
IDEMPOTENT_METHODS: Final = (
    *(f"winnow.v1.FeedbackService/{name}" for name in ("RecordEvents", "RecordSlates", "GetSlate")),
    *(f"winnow.v1.CatalogService/{name}" for name in ("UpsertItems", "DeleteItems", "UpsertUsers")),
)
"""For `ChannelOptions`: repeated when the service is UNAVAILABLE."""

Message = TypeVar("Message", bound=ProtobufMessage)


class GrpcFeedback:
    """Meets the ports `Feedback` and `Intake` by calling a server. Errors of all methods: `ServiceError`.

    Args:
        channel: open, of `shared.kernel.client.open_channel`.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._feedback = FeedbackServiceStub(channel)
        self._catalog = CatalogServiceStub(channel)
        self._privacy = PrivacyServiceStub(channel)

    async def record_slates(self, slates: Sequence[ServedSlate]) -> Recorded:
        """Append served slates; each is checked for itself."""
        answers = _Answers()
        for batch in _batches(map(slate_to_proto, slates), SLATES_A_CALL):
            request = feedback_service_pb2.RecordSlatesRequest(slates=batch)
            answer = await answer_of(self._feedback.RecordSlates(request, timeout=WRITE_TIMEOUT_S))
            answers.add(answer.statuses or [status_pb2.Status()] * len(batch), answer.watermark)
        return answers.recorded()

    async def slate(self, recommendation_id: str) -> ServedSlate | None:
        """Read a served slate back; None when there is none."""
        request = feedback_service_pb2.GetSlateRequest(recommendation_id=recommendation_id)
        try:
            answer = await answer_of(self._feedback.GetSlate(request))
        except ServiceError as error:
            if error.reason.name == NOT_FOUND:
                return None
            raise
        return slate_from_proto(answer.slate)

    async def tail(self, after: Watermark, *, follow: bool, batch_size: int = 500) -> AsyncIterator[LogBatch]:
        """Records behind a position, see `EventLog.tail`."""
        request = feedback_service_pb2.TailEventsRequest(
            after_watermark=str(after) if after.positions else "", follow=follow, batch_size=batch_size
        )
        call = self._feedback.TailEvents(request)
        try:
            with _service_errors():
                async for message in call:
                    yield LogBatch(
                        tuple(map(record_from_proto, message.records)),
                        Watermark.parse(message.watermark),
                        Watermark.parse(message.head_watermark),
                    )
        finally:
            call.cancel()

    async def record_events(self, events: Sequence[Event]) -> Recorded:
        """Append events, a call for each thousand; each event is checked for itself."""
        answers = _Answers()
        for batch in _batches(map(event_to_proto, events), EVENTS_A_CALL):
            request = feedback_service_pb2.RecordEventsRequest(events=batch)
            answer = await answer_of(self._feedback.RecordEvents(request, timeout=WRITE_TIMEOUT_S))
            answers.add(answer.statuses, answer.watermark)
        return answers.recorded()

    async def stream_events(self, batches: AsyncIterable[Sequence[Event]]) -> AsyncIterator[Recorded]:
        """Append a long run of batches, at most a thousand events each; one answer a batch, in order.

        Batches are taken from the producer only as fast as they become durable. After an error, send again what was
        not acknowledged; by `record_events`, if you want to know why.

        Raises:
            ServiceError: as the server told, or DEPENDENCY_UNAVAILABLE when the stream broke under a batch.
        """

        async def requests() -> AsyncIterator[feedback_service_pb2.StreamEventsRequest]:
            async for batch in batches:
                yield feedback_service_pb2.StreamEventsRequest(events=map(event_to_proto, batch))

        call = self._feedback.StreamEvents(requests())
        try:
            with _service_errors():
                async for answer in call:
                    yield _Answers(answer.statuses, answer.watermark).recorded()
        except ServiceError as error:
            raise _broken_stream() if error.message == LOST_STATUS else error from error.__cause__
        finally:
            call.cancel()

    async def upsert_items(self, items: Sequence[Item]) -> Recorded:
        """Create or replace items; each is checked for itself."""
        answers = _Answers()
        for batch in _batches(map(item_to_proto, items), ITEMS_A_CALL):
            request = catalog_service_pb2.UpsertItemsRequest(items=batch)
            answer = await answer_of(self._catalog.UpsertItems(request, timeout=WRITE_TIMEOUT_S))
            answers.add(answer.statuses, answer.watermark)
        return answers.recorded()

    async def delete_items(self, item_ids: Sequence[str]) -> Watermark:
        """Remove items; unknown ones are fine."""
        position = Watermark()
        for start in range(0, len(item_ids), ITEMS_A_CALL):
            request = catalog_service_pb2.DeleteItemsRequest(item_ids=item_ids[start : start + ITEMS_A_CALL])
            answer = await answer_of(self._catalog.DeleteItems(request, timeout=WRITE_TIMEOUT_S))
            position = position.joined(Watermark.parse(answer.watermark))
        return position

    async def upsert_users(self, users: Sequence[User]) -> Recorded:
        """Create or replace profiles; each is checked for itself."""
        answers = _Answers()
        for batch in _batches(map(user_to_proto, users), ITEMS_A_CALL):
            request = catalog_service_pb2.UpsertUsersRequest(users=batch)
            answer = await answer_of(self._catalog.UpsertUsers(request, timeout=WRITE_TIMEOUT_S))
            answers.add(answer.statuses, answer.watermark)
        return answers.recorded()

    async def erase_user(self, user_id: str) -> UserErasure:
        """Destroy all that is held about a user."""
        request = privacy_service_pb2.EraseUserRequest(user_id=user_id)
        answer = await answer_of(self._privacy.EraseUser(request, timeout=ERASE_TIMEOUT_S))
        return UserErasure(
            tuple(ErasedStore(each.store, each.records, each.done) for each in answer.stores),
            Watermark.parse(answer.watermark),
            tuple(answer.model_versions),
            time_from_proto(answer.erased_time),
        )

    async def export_user(self, user_id: str) -> AsyncIterator[UserExport]:
        """All that the log holds about a user; nothing when the user is not known."""
        call = self._privacy.ExportUser(privacy_service_pb2.ExportUserRequest(user_id=user_id))
        try:
            with _service_errors():
                async for run in call:
                    yield UserExport(
                        user_from_proto(run.user) if run.HasField("user") else None,
                        tuple(map(event_from_proto, run.events)),
                        tuple(map(slate_from_proto, run.slates)),
                    )
        finally:
            call.cancel()


class _Answers:
    """The answers to several calls as the answer to one batch."""

    def __init__(self, statuses: Iterable[status_pb2.Status] = (), watermark: str = "") -> None:
        self._rows = 0
        self._refused: dict[int, ServiceError] = {}
        self._position = Watermark()
        self.add(statuses, watermark)

    def add(self, statuses: Iterable[status_pb2.Status], watermark: str) -> None:
        """Add the answer to the next part of the batch."""
        for status in statuses:
            if status.code:
                self._refused[self._rows] = from_status(status)
            self._rows += 1
        self._position = self._position.joined(Watermark.parse(watermark))

    def recorded(self) -> Recorded:
        """What became of the batch."""
        return Recorded(self._position, self._refused)


def _batches(messages: Iterable[Message], limit: int) -> Iterator[list[Message]]:
    """Runs that one call can carry."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        added = message.ByteSize()
        if batch and (len(batch) == limit or size + added > CALL_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += added
    if batch:
        yield batch


def _broken_stream() -> ServiceError:
    message = "the stream broke before the server could say why; send again what was not acknowledged"
    metadata = {"dependency": "feedback", "code": "INTERNAL"}
    return ServiceError(ErrorReason.DEPENDENCY_UNAVAILABLE, message, metadata=metadata)


@contextmanager
def _service_errors() -> Iterator[None]:
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error
