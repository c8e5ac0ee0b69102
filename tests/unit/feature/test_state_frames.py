"""Bytes of item states: the same as a message would have, and never those of another state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from winnow.v1 import feature_service_pb2 as pb

from services.feature.state_frames import StateFrames
from shared.domain.items import ContentVector, Item
from shared.domain.user_state import ItemState, ItemStatus
from shared.wire.items import item_state_to_proto
from shared.wire.known_items import known_states
from tests.domain_strategies import items

VECTOR = ContentVector("text", "encoder-1", "hash", np.ones(3, np.float32))
STATE = ItemState("i0", ItemStatus.PRESENT, Item("i0", title="one", vectors=(VECTOR,)), popularity=1.0)


def read(*frames: bytes) -> pb.BatchGetItemsResponse:
    return pb.BatchGetItemsResponse.FromString(b"".join(frames))


def test_joined_bytes_are_the_answer() -> None:
    frames, other = StateFrames(), replace(STATE, item_id="i1", status=ItemStatus.DELETED, item=None)

    answer = read(frames.of(STATE, vectors=False), frames.of(other, vectors=False), frames.of(STATE, vectors=True))

    wanted = [item_state_to_proto(STATE, vectors=False), item_state_to_proto(other, vectors=False)]
    assert list(answer.items) == [*wanted, item_state_to_proto(STATE, vectors=True)]


def test_a_state_that_changed_has_bytes_of_its_own() -> None:
    frames = StateFrames()
    before = frames.of(STATE, vectors=False)

    after = read(frames.of(replace(STATE, popularity=2.0), vectors=False))

    assert read(before).items[0].popularity == 1.0
    assert after.items[0].popularity == 2.0


def test_bytes_of_a_state_are_made_once() -> None:
    frames = StateFrames()

    assert frames.of(STATE, vectors=False) is frames.of(STATE, vectors=False)


def test_ids_that_no_item_has_are_not_remembered() -> None:
    frames = StateFrames()

    frame = frames.of(ItemState("anything", ItemStatus.NOT_FOUND), vectors=False)

    assert frames.of(ItemState("anything", ItemStatus.NOT_FOUND), vectors=False) == frame
    assert frames._kept == {}


@given(items(), st.floats(0, 100), st.sampled_from(ItemStatus))
def test_what_a_client_knows_of_bytes_is_what_it_would_read(item: Item, popularity: float, status: ItemStatus) -> None:
    state = ItemState(item.item_id, status, item if status is ItemStatus.PRESENT else None, popularity, hourly=0.5)
    message = item_state_to_proto(state, vectors=False)

    (first,), (again,) = known_states([message]), known_states([message])

    assert item_state_to_proto(first, vectors=True) == message
    assert again is first
