"""`winnow.v1.CatalogService`: proto to domain to proto."""

from __future__ import annotations

from typing import Any, TypeAlias

import grpc
from winnow.v1 import catalog_service_pb2 as pb
from winnow.v1 import catalog_service_pb2_grpc as pb_grpc
from winnow.v1 import item_pb2

from services.feedback.intake import LogIntake
from services.feedback.statuses import statuses
from services.feedback.validation import attribute_violations, item_violations
from shared.kernel.context import annotate
from shared.kernel.errors import FieldViolation
from shared.kernel.validation import violations
from shared.wire.items import item_from_proto, user_from_proto

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class CatalogServicer(pb_grpc.CatalogServiceServicer):
    """Takes items and profiles.

    Args:
        intake: where they go.
    """

    def __init__(self, intake: LogIntake) -> None:
        self._intake = intake

    async def UpsertItems(self, request: pb.UpsertItemsRequest, context: Context) -> pb.UpsertItemsResponse:
        """Create or replace items; a status an item."""
        rows = enumerate(request.items)
        broken = {row: found for row, each in rows if (found := _item_violations(each, f"items[{row}]"))}
        recorded = await self._intake.append_checked([item_from_proto(each) for each in request.items], broken)
        annotate(items=len(request.items), refused=len(recorded.refused))
        answered = statuses(recorded, len(request.items))
        return pb.UpsertItemsResponse(statuses=answered, watermark=str(recorded.watermark))

    async def DeleteItems(self, request: pb.DeleteItemsRequest, context: Context) -> pb.DeleteItemsResponse:
        """Remove items."""
        return pb.DeleteItemsResponse(watermark=str(await self._intake.delete_items(request.item_ids)))

    async def UpsertUsers(self, request: pb.UpsertUsersRequest, context: Context) -> pb.UpsertUsersResponse:
        """Create or replace profiles; a status a profile."""
        rows = enumerate(request.users)
        broken = {row: found for row, each in rows if (found := _user_violations(each, f"users[{row}]"))}
        recorded = await self._intake.append_checked([user_from_proto(each) for each in request.users], broken)
        annotate(users=len(request.users), refused=len(recorded.refused))
        answered = statuses(recorded, len(request.users))
        return pb.UpsertUsersResponse(statuses=answered, watermark=str(recorded.watermark))


def _item_violations(message: item_pb2.Item, path: str) -> tuple[FieldViolation, ...]:
    names = [attribute.name for attribute in message.attributes]
    return violations(message, path) + item_violations(item_from_proto(message), names, path)


def _user_violations(message: item_pb2.User, path: str) -> tuple[FieldViolation, ...]:
    return violations(message, path) + attribute_violations([attribute.name for attribute in message.attributes], path)
