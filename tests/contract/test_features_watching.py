"""What every port to the catalogue's changes promises, in process and by gRPC."""

from __future__ import annotations

import asyncio

import pytest

from shared.domain.event_log import ItemDeletion
from shared.domain.items import Item
from shared.domain.watermark import Watermark
from shared.kernel.errors import ServiceError
from tests.contract.features_adapters import World, first_run
from tests.unit.feature.world import catalogue_of, event


async def test_a_watcher_gets_the_catalogue_and_then_its_changes(world: World) -> None:
    await world.record(*catalogue_of(200), ItemDeletion("i7"))
    watching = world.features.watch_items(Watermark())
    messages = await first_run(watching)

    position = await world.record(Item("i3", title="new"), ItemDeletion("i4"))
    change = await anext(watching)

    ids = [state.item_id for message in messages for state in message.upserted]
    assert sorted(ids) == sorted(f"i{n}" for n in range(200) if n != 7)
    assert [message.caught_up for message in messages] == [False] * (len(messages) - 1) + [True]
    assert [state.item.title for state in change.upserted if state.item] == ["new"]
    assert change.deleted_item_ids == ("i4",)
    assert change.watermark == str(position)


async def test_a_watcher_that_comes_back_gets_only_what_it_missed(world: World) -> None:
    await world.record(*catalogue_of(3))
    (message,) = await first_run(world.features.watch_items(Watermark()))
    await world.record(Item("i1", title="missed"), ItemDeletion("i2"), event("anna", "i0"))

    (missed,) = await first_run(world.features.watch_items(Watermark.parse(message.watermark)))

    assert [state.item_id for state in missed.upserted] == ["i1"]
    assert missed.deleted_item_ids == ("i2",)


async def test_a_watcher_cut_off_in_the_middle_goes_on_from_there(world: World) -> None:
    await world.record(*catalogue_of(500))
    seen: set[str] = set()
    watermark, rounds = Watermark(), 0

    caught_up = False
    while not caught_up:
        message = await anext(world.features.watch_items(watermark))
        watermark, caught_up, rounds = Watermark.parse(message.watermark), message.caught_up, rounds + 1
        assert not seen.intersection(state.item_id for state in message.upserted)
        seen.update(state.item_id for state in message.upserted)

    assert seen == {f"i{n}" for n in range(500)}
    assert rounds > 1


async def test_an_item_that_changes_often_reaches_a_slow_watcher_once(world: World) -> None:
    await world.record(Item("i0"))
    watching = world.features.watch_items(Watermark())
    await first_run(watching)
    following = asyncio.ensure_future(anext(watching))

    await world.log.append([Item("i0", title=f"version {n}") for n in range(50)])

    change = await following
    assert [state.item.title for state in change.upserted if state.item] == ["version 49"]


async def test_watching_from_a_position_that_the_log_never_had_is_refused(world: World) -> None:
    with pytest.raises(ServiceError) as caught:
        await anext(world.features.watch_items(Watermark.of(10**6)))

    assert caught.value.reason.name == "WATERMARK_INVALID"
