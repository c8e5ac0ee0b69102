"""Items, users and their typed attributes on the wire."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from winnow.v1 import item_pb2

from shared.domain.freshness import FeatureStatus, ItemFreshness
from shared.domain.items import ContentVector, Item, Scalar, User
from shared.domain.user_state import ItemState, ItemStatus
from shared.wire.times import time_from_proto, time_to_proto

_STATUS_CODES = frozenset(int(status) for status in FeatureStatus)


def attribute_to_proto(name: str, value: Scalar) -> item_pb2.Attribute:
    """One typed scalar."""
    if isinstance(value, bool):
        return item_pb2.Attribute(name=name, bool_value=value)
    if isinstance(value, str):
        return item_pb2.Attribute(name=name, string_value=value)
    return item_pb2.Attribute(name=name, number_value=value)


def attribute_from_proto(message: item_pb2.Attribute) -> Scalar | None:
    """The value; None when no kind is set."""
    kind = message.WhichOneof("value")
    if kind is None:
        return None
    value: Scalar = getattr(message, kind)
    return value


def attributes_from_proto(messages: Iterable[item_pb2.Attribute]) -> dict[str, Scalar]:
    """Name → value; of a repeated name the last one stays."""
    pairs = ((message.name, attribute_from_proto(message)) for message in messages)
    return {name: value for name, value in pairs if value is not None}


def vector_to_proto(vector: ContentVector) -> item_pb2.ContentVector:
    """One content vector."""
    return item_pb2.ContentVector(
        modality=vector.modality,
        encoder_id=vector.encoder_id,
        content_hash=vector.content_hash,
        values=vector.values.tolist(),
    )


def vector_from_proto(message: item_pb2.ContentVector) -> ContentVector:
    """One content vector."""
    return ContentVector(
        message.modality, message.encoder_id, message.content_hash, np.array(message.values, np.float32)
    )


def item_to_proto(item: Item, *, vectors: bool = True) -> item_pb2.Item:
    """One item, with or without its vectors."""
    return item_pb2.Item(
        item_id=item.item_id,
        title=item.title,
        description=item.description,
        creator_id=item.creator_id,
        categories=item.categories,
        tags=item.tags,
        attributes=[attribute_to_proto(name, value) for name, value in item.attributes.items()],
        vectors=[vector_to_proto(vector) for vector in item.vectors] if vectors else (),
        image_uri=item.image_uri,
        audio_uri=item.audio_uri,
        video_uri=item.video_uri,
        available_from_time=time_to_proto(item.available_from_ms),
        available_until_time=time_to_proto(item.available_until_ms),
        created_time=time_to_proto(item.created_ms),
    )


def item_from_proto(message: item_pb2.Item) -> Item:
    """One item."""
    return Item(
        item_id=message.item_id,
        title=message.title,
        description=message.description,
        creator_id=message.creator_id,
        categories=tuple(message.categories),
        tags=tuple(message.tags),
        attributes=attributes_from_proto(message.attributes),
        vectors=tuple(vector_from_proto(vector) for vector in message.vectors),
        image_uri=message.image_uri,
        audio_uri=message.audio_uri,
        video_uri=message.video_uri,
        available_from_ms=time_from_proto(message.available_from_time),
        available_until_ms=time_from_proto(message.available_until_time),
        created_ms=time_from_proto(message.created_time),
    )


def user_to_proto(user: User) -> item_pb2.User:
    """One profile."""
    attributes = [attribute_to_proto(name, value) for name, value in user.attributes.items()]
    return item_pb2.User(user_id=user.user_id, interest_tags=user.interest_tags, attributes=attributes)


def user_from_proto(message: item_pb2.User) -> User:
    """One profile."""
    return User(message.user_id, tuple(message.interest_tags), attributes_from_proto(message.attributes))


def item_state_to_proto(state: ItemState, *, vectors: bool) -> item_pb2.ItemState:
    """One item's state."""
    return item_pb2.ItemState(
        item_id=state.item_id,
        status=int(state.status),  # type: ignore[arg-type]  # codes are equal by definition
        item=None if state.item is None else item_to_proto(state.item, vectors=vectors),
        popularity=state.popularity,
        trend=state.trend,
        updated_watermark=state.updated_watermark,
        first_seen_time=time_to_proto(state.first_seen_ms),
        hourly=state.hourly,
        monthly=state.monthly,
        exposures=state.exposures,
        updated_time=time_to_proto(state.updated_ms),
        freshness=_freshness_to_proto(state.freshness),
    )


def item_state_from_proto(message: item_pb2.ItemState) -> ItemState:
    """One item's state."""
    return ItemState(
        item_id=message.item_id,
        status=ItemStatus(message.status),
        item=item_from_proto(message.item) if message.HasField("item") else None,
        popularity=message.popularity,
        trend=message.trend,
        updated_watermark=message.updated_watermark,
        first_seen_ms=time_from_proto(message.first_seen_time),
        hourly=message.hourly,
        monthly=message.monthly,
        exposures=message.exposures,
        updated_ms=time_from_proto(message.updated_time),
        freshness=ItemFreshness(
            feature_status(message.freshness.content),
            feature_status(message.freshness.counts),
            feature_status(message.freshness.vectors),
        ),
    )


def feature_status(code: int) -> FeatureStatus:
    """A status; one of the future is not known."""
    return FeatureStatus(code) if code in _STATUS_CODES else FeatureStatus.UNSPECIFIED


def _freshness_to_proto(freshness: ItemFreshness) -> item_pb2.ItemFreshness:
    return item_pb2.ItemFreshness(
        content=int(freshness.content),  # type: ignore[arg-type]  # codes are equal by definition
        counts=int(freshness.counts),  # type: ignore[arg-type]
        vectors=int(freshness.vectors),  # type: ignore[arg-type]
    )
