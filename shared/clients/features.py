"""User and item state over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import grpc
from winnow.v1 import feature_service_pb2 as pb
from winnow.v1.feature_service_pb2_grpc import FeatureServiceStub

from shared.clients.answers import answer_of
from shared.domain.attributes import AttributeUse
from shared.domain.user_state import ItemChanges, ItemState, ProjectionStatus, TopItems, TopOrder, UserState
from shared.domain.watermark import Watermark
from shared.kernel.errors import from_rpc_error
from shared.wire.attribute_uses import attribute_use_from_proto
from shared.wire.items import item_state_from_proto
from shared.wire.known_items import known_states
from shared.wire.user_state import item_changes_from_proto, status_from_proto, user_state_from_proto

BATCH_LIMIT = 5000
"""Items that one `BatchGetItems` may ask for."""
IDEMPOTENT_METHODS = tuple(
    f"winnow.v1.FeatureService/{name}"
    for name in ("GetUserState", "BatchGetItems", "ListTopItems", "ListAttributes", "GetStatus")
)
"""For `ChannelOptions`: repeated when the service is UNAVAILABLE."""


class GrpcFeatures:
    """Meets the port `Features` by calling a server.

    Args:
        channel: open, of `shared.kernel.client.open_channel`.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = FeatureServiceStub(channel)

    async def user_state(
        self, user_id: str, min_watermark: Watermark, *, history_limit: int, budget_ms: float
    ) -> UserState:
        """A user's state; stale when the position was not reached within the budget.

        Raises:
            ServiceError: as the server told, or DEPENDENCY_UNAVAILABLE, DEADLINE_EXCEEDED of the transport.
        """
        wanted = str(min_watermark) if min_watermark.positions else ""
        request = pb.GetUserStateRequest(user_id=user_id, min_watermark=wanted, history_limit=history_limit)
        answer = await answer_of(self._stub.GetUserState(request, timeout=budget_ms / 1000))
        return user_state_from_proto(answer.user_state)

    async def items(self, item_ids: Sequence[str], *, include_vectors: bool = False) -> tuple[ItemState, ...]:
        """Items in request order; vectors only when asked for."""
        states: list[ItemState] = []
        for start in range(0, len(item_ids), BATCH_LIMIT):
            request = pb.BatchGetItemsRequest(
                item_ids=item_ids[start : start + BATCH_LIMIT], include_vectors=include_vectors
            )
            answer = await answer_of(self._stub.BatchGetItems(request))
            states += map(item_state_from_proto, answer.items) if include_vectors else known_states(answer.items)
        return tuple(states)

    async def top_items(
        self, order: TopOrder, *, category: str = "", limit: int = 100, page_token: str = ""
    ) -> TopItems:
        """Popular or trending items, best first; at most 1,000 at once."""
        request = pb.ListTopItemsRequest(
            order=int(order),  # type: ignore[arg-type]  # codes are equal by definition
            category=category,
            limit=limit,
            page_token=page_token,
        )
        answer = await answer_of(self._stub.ListTopItems(request))
        return TopItems(tuple(answer.item_ids), tuple(answer.scores), answer.watermark, answer.next_page_token)

    async def attributes(self) -> tuple[AttributeUse, ...]:
        """The catalogue's attributes, the most used ones first."""
        answer = await answer_of(self._stub.ListAttributes(pb.ListAttributesRequest()))
        return tuple(map(attribute_use_from_proto, answer.attributes))

    async def watch_items(self, after: Watermark) -> AsyncIterator[ItemChanges]:
        """The catalogue and then its changes, for ever.

        Raises:
            ServiceError: WATERMARK_INVALID when the catalogue has to be read anew; else as above.
        """
        call = self._stub.WatchItems(pb.WatchItemsRequest(after_watermark=str(after) if after.positions else ""))
        try:
            async for message in call:
                yield item_changes_from_proto(message)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        finally:
            call.cancel()

    async def status(self) -> ProjectionStatus:
        """How far the projection is."""
        return status_from_proto(await answer_of(self._stub.GetStatus(pb.FeatureServiceGetStatusRequest())))
