"""`winnow.v1.FeatureService`: proto to domain to proto."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeAlias

import grpc
from winnow.v1 import feature_service_pb2 as pb
from winnow.v1 import feature_service_pb2_grpc as pb_grpc

from services.feature.features import ProjectedFeatures
from services.feature.state_frames import StateFrames
from shared.domain.history import HISTORY_LIMIT
from shared.domain.user_state import ItemState, TopOrder
from shared.domain.watermark import Watermark
from shared.kernel.context import annotate, remaining_ms
from shared.kernel.errors import ErrorReason, ServiceError
from shared.wire.attribute_uses import attribute_use_to_proto
from shared.wire.user_state import item_changes_to_proto, status_to_proto, user_state_to_proto

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

DEFAULT_HISTORY = 200
DEFAULT_PAGE = 100
PAGE_LIMIT = 1000
ORDERS = frozenset(int(order) for order in TopOrder)
ANSWER_MARGIN_MS = 10
ANSWER_MARGIN_SHARE = 0.1
"""The larger of both is kept of the caller's deadline for building and sending the answer."""
ANSWER_LIMIT_BYTES = 15 * 1024 * 1024
"""Items in one answer: clients take messages of 16 MiB."""


class FeatureServicer(pb_grpc.FeatureServiceServicer):
    """Answers from the in-process features.

    Args:
        features: what is asked.
        wait_limit_ms: longest wait for a position.
    """

    def __init__(self, features: ProjectedFeatures, wait_limit_ms: int) -> None:
        self._features = features
        self._wait_limit_ms = wait_limit_ms
        self._frames = StateFrames()

    async def GetUserState(self, request: pb.GetUserStateRequest, context: Context) -> pb.GetUserStateResponse:
        """A user's state at or behind a position."""
        state = await self._features.user_state(
            request.user_id,
            _watermark(request.min_watermark),
            history_limit=min(request.history_limit or DEFAULT_HISTORY, HISTORY_LIMIT),
            budget_ms=self._budget_ms(),
        )
        annotate(stale=state.stale, history=len(state.history))
        return pb.GetUserStateResponse(user_state=user_state_to_proto(state))

    async def BatchGetItems(self, request: pb.BatchGetItemsRequest, context: Context) -> pb.BatchGetItemsResponse:
        """Items in request order."""
        states = await self._features.items(request.item_ids, include_vectors=request.include_vectors)
        status = await self._features.status()
        answer = pb.BatchGetItemsResponse.FromString(self._items(states, vectors=request.include_vectors))
        answer.watermark = status.watermark
        return answer

    async def ListItems(self, request: pb.ListItemsRequest, context: Context) -> pb.ListItemsResponse:
        """A page of the catalogue, without vectors."""
        page = self._features.list_items(
            category=request.category,
            page_size=min(request.page_size or DEFAULT_PAGE, PAGE_LIMIT),
            page_token=request.page_token,
        )
        answer = pb.ListItemsResponse.FromString(self._items(page.items, vectors=False))
        answer.next_page_token = page.next_page_token
        return answer

    async def WatchItems(self, request: pb.WatchItemsRequest, context: Context) -> AsyncIterator[pb.WatchItemsResponse]:
        """The catalogue and then its changes."""
        async for changes in self._features.watch_items(_watermark(request.after_watermark)):
            yield item_changes_to_proto(changes)

    async def ListTopItems(self, request: pb.ListTopItemsRequest, context: Context) -> pb.ListTopItemsResponse:
        """The best items of one window."""
        order = TopOrder(request.order) if int(request.order) in ORDERS else TopOrder.POPULAR
        limit = min(request.limit or DEFAULT_PAGE, PAGE_LIMIT)
        found = await self._features.top_items(
            order, category=request.category, limit=limit, page_token=request.page_token
        )
        return pb.ListTopItemsResponse(
            item_ids=found.item_ids,
            scores=found.scores,
            watermark=found.watermark,
            next_page_token=found.next_page_token,
        )

    async def ListAttributes(self, request: pb.ListAttributesRequest, context: Context) -> pb.ListAttributesResponse:
        """What conditions can be about."""
        return pb.ListAttributesResponse(attributes=map(attribute_use_to_proto, await self._features.attributes()))

    async def GetStatus(
        self, request: pb.FeatureServiceGetStatusRequest, context: Context
    ) -> pb.FeatureServiceGetStatusResponse:
        """How far the projection is."""
        return status_to_proto(await self._features.status())

    def _items(self, states: Sequence[ItemState], *, vectors: bool) -> bytes:
        """The field `items`, which has one number in every answer; stops before the answer is more than a client takes.

        Raises:
            ServiceError: MESSAGE_TOO_LARGE.
        """
        frames: list[bytes] = []
        size_bytes = 0
        for state in states:
            frames.append(self._frames.of(state, vectors=vectors))
            size_bytes += len(frames[-1])
            if size_bytes > ANSWER_LIMIT_BYTES:
                raise ServiceError(
                    ErrorReason.MESSAGE_TOO_LARGE,
                    f"the first {len(frames)} of {len(states)} items have {size_bytes} bytes, "
                    f"{ANSWER_LIMIT_BYTES} are the limit of an answer: ask for fewer items or no vectors",
                    metadata={"bytes": str(size_bytes), "limitBytes": str(ANSWER_LIMIT_BYTES)},
                )
        return b"".join(frames)

    def _budget_ms(self) -> float:
        left = remaining_ms()
        if left is None:
            return self._wait_limit_ms
        return min(self._wait_limit_ms, left - max(ANSWER_MARGIN_MS, ANSWER_MARGIN_SHARE * left))


def _watermark(text: str) -> Watermark:
    try:
        return Watermark.parse(text)
    except ValueError as error:
        raise ServiceError(ErrorReason.WATERMARK_INVALID, str(error), metadata={"watermark": text[:64]}) from error
