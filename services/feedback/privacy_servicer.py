"""`winnow.v1.PrivacyService`: proto to domain to proto."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
from winnow.v1 import privacy_service_pb2 as pb
from winnow.v1 import privacy_service_pb2_grpc as pb_grpc

from shared.domain.intake import Intake
from shared.wire.events import event_to_proto
from shared.wire.items import user_to_proto
from shared.wire.slates import slate_to_proto
from shared.wire.times import time_to_proto

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class PrivacyServicer(pb_grpc.PrivacyServiceServicer):
    """Erases users and hands out what is held about them.

    Args:
        intake: of the log.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def EraseUser(self, request: pb.EraseUserRequest, context: Context) -> pb.EraseUserResponse:
        """Destroy the user's key; the receipt."""
        receipt = await self._intake.erase_user(request.user_id)
        return pb.EraseUserResponse(
            stores=[pb.ErasedStore(store=each.store, records=each.records, done=each.done) for each in receipt.stores],
            watermark=str(receipt.watermark),
            model_versions=receipt.model_versions,
            erased_time=time_to_proto(receipt.erased_ms),
        )

    async def ExportUser(self, request: pb.ExportUserRequest, context: Context) -> AsyncIterator[pb.ExportUserResponse]:
        """Everything that the log holds about the user."""
        async for run in self._intake.export_user(request.user_id):
            yield pb.ExportUserResponse(
                user=None if run.user is None else user_to_proto(run.user),
                events=map(event_to_proto, run.events),
                slates=map(slate_to_proto, run.slates),
            )
