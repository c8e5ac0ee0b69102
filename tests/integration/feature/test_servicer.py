"""`FeatureService` as a client of another language sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from winnow.v1 import feature_service_pb2 as pb
from winnow.v1 import feature_service_pb2_grpc as pb_grpc

from shared.domain.event_log import Fact, ItemDeletion
from shared.domain.items import ContentVector, Item
from shared.domain.watermark import Watermark
from shared.kernel.client import ChannelOptions, open_channel
from shared.kernel.errors import ServiceError, from_rpc_error
from shared.kernel.server import GrpcServer
from tests.fakes import MemoryLog
from tests.unit.feature.world import ENOUGH_MS, catalogue_of, clock, event, running


@asynccontextmanager
async def serving(folder: Path, *facts: Fact, **overrides: object) -> AsyncIterator[pb_grpc.FeatureServiceAsyncStub]:
    """A client of a service that has applied these facts."""
    log = MemoryLog(clock)
    await log.append(facts)
    async with (
        running(folder, log, **overrides) as app,
        GrpcServer("127.0.0.1:0", [app.hosted]) as server,
        open_channel(server.address, ChannelOptions(timeout_ms=int(ENOUGH_MS))) as channel,
    ):
        yield pb_grpc.FeatureServiceStub(channel)


async def refused(call: Awaitable[object]) -> ServiceError:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc_error(caught.value)


async def pages(stub: pb_grpc.FeatureServiceAsyncStub, category: str, size: int) -> list[list[str]]:
    """Every page of the list."""
    found, token = [], ""
    while True:
        page = await stub.ListItems(pb.ListItemsRequest(category=category, page_size=size, page_token=token))
        found.append([state.item_id for state in page.items])
        token = page.next_page_token
        if not token:
            return found


async def test_pages_go_through_the_catalogue_in_the_order_of_ids(tmp_path: Path) -> None:
    async with serving(tmp_path, *catalogue_of(25)) as stub:
        found = await pages(stub, "", 10)

    assert [len(page) for page in found] == [10, 10, 5]
    assert [item_id for page in found for item_id in page] == sorted(f"i{n}" for n in range(25))


async def test_pages_of_a_category_hold_its_items_only(tmp_path: Path) -> None:
    async with serving(tmp_path, *catalogue_of(9)) as stub:
        assert await pages(stub, "c1", 2) == [["i1", "i4"], ["i7"]]
        assert await pages(stub, "nothing", 2) == [[]]


async def test_a_page_that_ends_with_the_list_has_no_next_one(tmp_path: Path) -> None:
    async with serving(tmp_path, *catalogue_of(4)) as stub:
        assert await pages(stub, "", 2) == [["i0", "i1"], ["i2", "i3"]]


async def test_the_page_size_has_a_default_and_a_limit(tmp_path: Path) -> None:
    async with serving(tmp_path, *catalogue_of(1_200)) as stub:
        default = await stub.ListItems(pb.ListItemsRequest())
        large = await stub.ListItems(pb.ListItemsRequest(page_size=2**31 - 1))
        error = await refused(stub.ListItems(pb.ListItemsRequest(page_size=-1)))

    assert (len(default.items), len(large.items)) == (100, 1_000)
    assert error.reason.name == "INVALID_FIELD"
    assert [each.field for each in error.violations] == ["page_size"]


async def test_an_item_deleted_between_two_pages_breaks_nothing(tmp_path: Path) -> None:
    log = MemoryLog(clock)
    await log.append(catalogue_of(5))
    async with (
        running(tmp_path, log) as app,
        GrpcServer("127.0.0.1:0", [app.hosted]) as server,
        open_channel(server.address) as channel,
    ):
        stub = pb_grpc.FeatureServiceStub(channel)
        first = await stub.ListItems(pb.ListItemsRequest(page_size=2))
        position = await log.append([Item("i11"), ItemDeletion("i1")])
        await app.features.user_state("x", position, history_limit=1, budget_ms=ENOUGH_MS)
        second = await stub.ListItems(pb.ListItemsRequest(page_size=9, page_token=first.next_page_token))

    assert [state.item_id for state in first.items] == ["i0", "i1"]
    assert [state.item_id for state in second.items] == ["i11", "i2", "i3", "i4"]


@pytest.mark.parametrize("token", ["abc", "AAAAAAAAAAAAAAAAAAAAAGkx"])
async def test_a_foreign_page_token_is_refused(tmp_path: Path, token: str) -> None:
    async with serving(tmp_path, *catalogue_of(5)) as stub:
        error = await refused(stub.ListItems(pb.ListItemsRequest(page_token=token)))

    assert (error.code, error.reason.name) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")
    assert "without a token" in error.message


async def test_a_token_of_another_category_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, *catalogue_of(9)) as stub:
        page = await stub.ListItems(pb.ListItemsRequest(category="c1", page_size=1))
        other = pb.ListItemsRequest(category="c2", page_token=page.next_page_token)

        assert (await refused(stub.ListItems(other))).reason.name == "PAGE_TOKEN_INVALID"


async def test_a_token_lives_through_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path, *catalogue_of(3)) as stub:
        page = await stub.ListItems(pb.ListItemsRequest(page_size=2))

    async with serving(tmp_path, *catalogue_of(3)) as stub:
        rest = await stub.ListItems(pb.ListItemsRequest(page_token=page.next_page_token))

    assert [state.item_id for state in rest.items] == ["i2"]


async def test_vectors_come_only_when_they_are_asked_for(tmp_path: Path) -> None:
    vector = ContentVector("text", "encoder-1", "hash", np.ones(3, np.float32))
    async with serving(tmp_path, Item("i0", vectors=(vector,))) as stub:
        without = await stub.BatchGetItems(pb.BatchGetItemsRequest(item_ids=["i0"]))
        with_them = await stub.BatchGetItems(pb.BatchGetItemsRequest(item_ids=["i0"], include_vectors=True))
        listed = await stub.ListItems(pb.ListItemsRequest())

    assert len(without.items[0].item.vectors) == 0
    assert list(with_them.items[0].item.vectors[0].values) == [1.0, 1.0, 1.0]
    assert len(listed.items[0].item.vectors) == 0
    assert without.watermark == "w1-0.1"


async def test_an_answer_that_no_client_could_take_is_refused_with_the_remedy(tmp_path: Path) -> None:
    vector = ContentVector("text", "encoder-1", "hash", np.ones(4_096, np.float32))
    async with serving(tmp_path, Item("i0", vectors=(vector,) * 8)) as stub:
        request = pb.BatchGetItemsRequest(item_ids=["i0"] * 200, include_vectors=True)
        error = await refused(stub.BatchGetItems(request))

    assert (error.code, error.reason.name) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")
    assert "fewer items" in error.message


async def test_a_large_catalogue_with_large_vectors_can_be_watched(tmp_path: Path) -> None:
    vector = ContentVector("text", "encoder-1", "hash", np.ones(4_096, np.float32))
    items = [Item(f"i{n}", vectors=(vector,) * 8) for n in range(100)]
    seen = 0
    async with serving(tmp_path, *items) as stub:
        async for message in stub.WatchItems(pb.WatchItemsRequest()):
            seen += len(message.upserted)
            if message.caught_up:
                break

    assert seen == 100


async def test_the_history_has_a_default_and_a_limit(tmp_path: Path) -> None:
    async with serving(tmp_path, *(event("anna", f"i{n}") for n in range(1_100))) as stub:
        default = await stub.GetUserState(pb.GetUserStateRequest(user_id="anna"))
        large = await stub.GetUserState(pb.GetUserStateRequest(user_id="anna", history_limit=5_000))

    assert len(default.user_state.history) == 200
    assert len(large.user_state.history) == 1_000
    assert len(default.user_state.consumed_item_ids) == 1_000


async def test_a_position_out_of_reach_is_answered_stale_before_the_deadline(tmp_path: Path) -> None:
    async with serving(tmp_path, event("anna", "i1")) as stub:
        request = pb.GetUserStateRequest(user_id="anna", min_watermark=str(Watermark.of(10**9)))
        answer = await stub.GetUserState(request, timeout=1.0)

    assert answer.user_state.stale
    assert [each.item_id for each in answer.user_state.history] == ["i1"]


async def test_the_wait_has_a_limit_of_its_own(tmp_path: Path) -> None:
    async with serving(tmp_path, wait_limit_ms=20) as stub:
        request = pb.GetUserStateRequest(user_id="anna", min_watermark=str(Watermark.of(10**9)))
        answer = await stub.GetUserState(request, timeout=ENOUGH_MS / 1000)

    assert answer.user_state.stale


@pytest.mark.parametrize("text", ["w2-0.5", "17", "w1-0.-5", "w1-99999.1"])
async def test_what_is_no_watermark_is_refused(tmp_path: Path, text: str) -> None:
    async with serving(tmp_path) as stub:
        error = await refused(stub.GetUserState(pb.GetUserStateRequest(user_id="anna", min_watermark=text)))

    assert (error.reason.name, error.metadata) == ("WATERMARK_INVALID", {"watermark": text})


async def test_every_broken_field_is_named(tmp_path: Path) -> None:
    async with serving(tmp_path) as stub:
        bad = pb.GetUserStateRequest(user_id="x" * 129, history_limit=-1)
        user = await refused(stub.GetUserState(bad))
        items = await refused(stub.BatchGetItems(pb.BatchGetItemsRequest(item_ids=["", "y" * 129])))
        top = await refused(stub.ListTopItems(pb.ListTopItemsRequest(limit=-1)))

    assert {each.field for each in user.violations} == {"user_id", "history_limit"}
    assert {each.field for each in items.violations} == {"item_ids[0]", "item_ids[1]"}
    assert {each.field for each in top.violations} == {"limit"}


async def test_a_list_without_an_order_is_the_popular_one(tmp_path: Path) -> None:
    async with serving(
        tmp_path, *catalogue_of(3), event("anna", "i2"), event("ben", "i2"), event("anna", "i1")
    ) as stub:
        top = await stub.ListTopItems(pb.ListTopItemsRequest())

    assert (list(top.item_ids), list(top.scores), top.watermark) == (["i2", "i1"], [2.0, 1.0], "w1-0.6")
