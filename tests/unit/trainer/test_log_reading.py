"""The log as a data set."""

from __future__ import annotations

from services.trainer.log_reading import read_log
from shared.domain.event_log import ItemDeletion
from shared.domain.events import Event, EventType
from shared.domain.items import Item, User
from shared.domain.watermark import Watermark
from tests.fakes import MemoryLog


def happened(event_id: str, user: str, item: str, time_ms: int, kind: int = EventType.CLICK) -> Event:
    return Event(event_id, user, item, kind, time_ms)


async def test_the_log_reads_as_events_in_time_order_with_their_details() -> None:
    log = MemoryLog()
    events = [happened("2", "u", "heat", 2000), happened("1", "u", "casino", 1000)]
    head = await log.append([Item("heat", title="Heat"), User("u", ("crime",)), *events])

    read = await read_log(log.tail(Watermark(), follow=False))

    data = read.dataset
    assert read.watermark == head
    assert [data.items.ids[row] for row in data.interactions.item_rows] == ["casino", "heat"]
    assert data.item_details[data.items.row("heat")].title == "Heat"
    assert data.user_details[0].interest_tags == ("crime",)


async def test_events_behind_a_position_are_told_from_those_before_whatever_their_times() -> None:
    log = MemoryLog()
    since = await log.append([happened("1", "u", "a", 3000), happened("2", "u", "b", 1000)])
    await log.append([happened("3", "u", "c", 2000), happened("4", "u", "d", 4000)])

    read = await read_log(log.tail(Watermark(), follow=False), since=since)

    items = [read.dataset.items.ids[row] for row in read.dataset.interactions.item_rows]
    assert dict(zip(items, read.new.tolist(), strict=True)) == {"b": False, "c": True, "a": False, "d": True}


async def test_what_teaches_nothing_is_left_out() -> None:
    log = MemoryLog()
    await log.append([
        happened("1", "u", "a", 1, EventType.IMPRESSION),
        happened("2", "u", "a", 1, 99),
        Event("3", "u", "", EventType.FOLLOW, 1, target_id="x"),
        Item("gone"), ItemDeletion("gone"),
    ])  # fmt: skip

    data = (await read_log(log.tail(Watermark(), follow=False))).dataset

    assert len(data.interactions.user_rows) == 0
    assert "gone" not in data.items


async def test_an_erased_user_is_not_read() -> None:
    log = MemoryLog()
    await log.append([happened("1", "secret", "a", 1), happened("2", "other", "b", 2)])
    await log.erase("secret")

    data = (await read_log(log.tail(Watermark(), follow=False))).dataset

    assert data.users.ids == ("other",)
