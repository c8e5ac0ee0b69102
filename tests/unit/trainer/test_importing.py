"""A data set on its way to the running services."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from services.trainer.importing import BATCH_FACTS, ImportProgress, Rejection, events_of, import_dataset
from shared.domain.events import Event, EventType
from shared.domain.items import Item, User
from tests.unit.trainer.data_worlds import dataset_of


class MemorySink:
    """Keeps what it is given, refuses what it is told to."""

    def __init__(self, *refused: str) -> None:
        self.refused = set(refused)
        self.items: list[Item] = []
        self.users: list[User] = []
        self.events: dict[str, Event] = {}
        self.batches: list[tuple[str, int]] = []

    async def upsert_items(self, items: Sequence[Item]) -> Sequence[Rejection]:
        self.batches.append(("items", len(items)))
        self.items += items
        return [Rejection(n, "not wanted") for n, item in enumerate(items) if item.item_id in self.refused]

    async def upsert_users(self, users: Sequence[User]) -> Sequence[Rejection]:
        self.batches.append(("users", len(users)))
        self.users += users
        return []

    async def record_events(self, batches: AsyncIterable[Sequence[Event]]) -> AsyncIterator[Sequence[Rejection]]:
        async for events in batches:
            self.batches.append(("events", len(events)))
            self.events |= {event.event_id: event for event in events}
            yield [Rejection(n, "no such user") for n, event in enumerate(events) if event.user_id in self.refused]


ROWS = [("u", "a", 1.5), ("v", "b", 2.0), ("u", "a", 1.5), ("u", "b", 3.0)]


async def test_items_go_first_then_known_users_then_events_in_time_order() -> None:
    sink = MemorySink()
    data = dataset_of(ROWS, items=[Item("a", "Heat"), Item("shelf")], users=[User("v", ("jazz",))])

    report = await import_dataset(data, sink)

    assert [kind for kind, _ in sink.batches] == ["items", "users", "events"]
    assert [item.item_id for item in sink.items] == ["a", "b", "shelf"]
    assert [user.user_id for user in sink.users] == ["v"]
    assert [event.event_time_ms for event in sink.events.values()] == [1500, 1500, 2000, 3000]
    assert [(kind.kind, kind.taken, kind.refused) for kind in report.kinds] == [
        ("items", 3, 0), ("users", 1, 0), ("events", 4, 0),
    ]  # fmt: skip


async def test_a_second_import_sends_the_same_ids_and_equal_rows_are_different_events() -> None:
    first, second = MemorySink(), MemorySink()

    await import_dataset(dataset_of(ROWS), first)
    await import_dataset(dataset_of(ROWS), second)

    assert len(first.events) == 4
    assert first.events == second.events


async def test_a_longer_file_keeps_the_ids_of_the_rows_it_had() -> None:
    first, second = MemorySink(), MemorySink()

    await import_dataset(dataset_of(ROWS), first)
    await import_dataset(dataset_of([("w", "c", 0.0), *ROWS, ("u", "a", 1.5)]), second)

    assert set(first.events) < set(second.events)
    assert len(second.events) == 6


def test_every_part_of_a_row_is_part_of_its_id() -> None:
    data = dataset_of([("u", "a", 1.0)])
    events = data.interactions
    variants = [
        data,
        dataset_of([("u2", "a", 1.0)]),
        dataset_of([("u", "a2", 1.0)]),
        dataset_of([("ua", "", 1.0)]),
        dataset_of([("u", "a", 1.25)]),
        replace(data, interactions=replace(events, event_types=np.array([EventType.LIKE], np.int8))),
        replace(data, interactions=replace(events, values=np.array([4], np.float32))),
    ]

    ids = {event.event_id for variant in variants for batch in events_of(variant) for event in batch}

    assert len(ids) == len(variants)
    assert all(len(event_id) <= 128 for event_id in ids)


def test_a_value_is_carried_and_none_stays_none() -> None:
    data = dataset_of([("u", "a", 1.0), ("u", "b", 2.0)])
    valued = replace(data, interactions=replace(data.interactions, values=np.array([4.5, np.nan], np.float32)))

    (batch,) = events_of(valued)

    assert [event.value for event in batch] == [4.5, None]


async def test_what_the_receiver_refuses_is_counted_with_its_reason_and_stops_nothing() -> None:
    sink = MemorySink("a", "v")

    report = await import_dataset(dataset_of(ROWS), sink)

    items, users, events = report.kinds
    assert (items.taken, items.refused, items.examples) == (1, 1, (("a", "not wanted"),))
    assert (users.taken, users.refused) == (0, 0)
    assert (events.taken, events.refused, events.examples[0][1]) == (3, 1, "no such user")
    assert report.refused == 2


async def test_batches_are_bounded_and_progress_reaches_the_total() -> None:
    sink = MemorySink()
    told: list[ImportProgress] = []
    data = dataset_of([("u", f"i{n % 3}", float(n)) for n in range(2 * BATCH_FACTS + 1)])

    await import_dataset(data, sink, told.append)

    assert [size for kind, size in sink.batches if kind == "events"] == [BATCH_FACTS, BATCH_FACTS, 1]
    assert told[-1] == ImportProgress("events", 2 * BATCH_FACTS + 1, 2 * BATCH_FACTS + 1)


async def test_an_error_of_the_sink_is_not_swallowed() -> None:
    class BrokenSink(MemorySink):
        async def record_events(self, batches: AsyncIterable[Sequence[Event]]) -> AsyncIterator[Sequence[Rejection]]:
            raise ConnectionError("gone")
            yield []

    with pytest.raises(ConnectionError, match="gone"):
        await import_dataset(dataset_of(ROWS), BrokenSink())
