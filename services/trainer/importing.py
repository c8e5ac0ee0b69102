"""A data set as facts for the running services: batches of items, users and events, the same ids every time.

An event's id is a hash of what its row says (and of how many equal rows came before it), so importing a file again,
or a longer version of it, adds only what is new.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np

from services.trainer.datasets import Dataset
from services.trainer.preprocessing import occurrences
from shared.domain.events import Event
from shared.domain.items import Item, User

BATCH_FACTS = 500
EXAMPLES_KEPT = 20
UNDATED = "import-undated-"
"""How the id of an event begins whose row has no time: it got that of its import, and an export writes 0 again."""
_ID_BYTES = 16

Fact = TypeVar("Fact", Item, User, Event)


@dataclass(frozen=True, slots=True)
class Rejection:
    """One fact of a batch that the receiver did not take: its place in the batch, and why."""

    index: int
    reason: str


class ImportSink(Protocol):
    """Where the facts go. Each call answers with the facts that were not taken; a repeated event counts as taken."""

    async def upsert_items(self, items: Sequence[Item]) -> Sequence[Rejection]:
        """Take items."""

    async def upsert_users(self, users: Sequence[User]) -> Sequence[Rejection]:
        """Take users."""

    def record_events(self, batches: AsyncIterable[Sequence[Event]]) -> AsyncIterator[Sequence[Rejection]]:
        """Take events: one answer a batch, in order; batches are asked for while earlier ones are on the way."""


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far an import is: `done` of `total` facts of a kind (`items`, `users`, `events`)."""

    kind: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class ImportedKind:
    """What became of the facts of one kind; `examples` are `(id, reason)` of the first ones refused."""

    kind: str
    taken: int
    refused: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of items, users and events, in this order."""

    kinds: tuple[ImportedKind, ...]

    @property
    def refused(self) -> int:
        """Facts of any kind that were not taken."""
        return sum(kind.refused for kind in self.kinds)


Progress = Callable[[ImportProgress], None]


async def import_dataset(
    dataset: Dataset, sink: ImportSink, progress: Progress = lambda done: None, batch_facts: int = BATCH_FACTS
) -> ImportReport:
    """Send everything: items first, then the users of whom something is known, then the events in time order.

    A rejected fact does not stop the import; an error of the sink does, and a second run goes on where it was.
    """
    users = [user for user in dataset.user_details if user.interest_tags or user.attributes]
    items = _batches(dataset.item_details, batch_facts)
    events = events_of(dataset, batch_facts)
    return ImportReport((
        await _send(_Kind("items", len(dataset.items), progress), items, sink.upsert_items, lambda item: item.item_id),
        await _send(_Kind("users", len(users), progress), _batches(users, batch_facts), sink.upsert_users,
                    lambda user: user.user_id),
        await _stream(_Kind("events", len(dataset.interactions), progress), events, sink),
    ))  # fmt: skip


def events_of(dataset: Dataset, batch_facts: int = BATCH_FACTS) -> Iterator[Sequence[Event]]:
    """The interactions as domain events, in batches and in time order."""
    events, repeats = dataset.interactions, occurrences(dataset.interactions)
    for start in range(0, len(events), batch_facts):
        part = slice(start, start + batch_facts)
        columns = (events.user_rows, events.item_rows, events.event_types, events.values, events.times_s, repeats)
        yield [
            _event((dataset.users.ids[user], dataset.items.ids[item]), kind, value, time_s, repeat)
            for user, item, kind, value, time_s, repeat in zip(*(c[part].tolist() for c in columns), strict=True)
        ]


def _event(ids: tuple[str, str], kind: int, value: float, time_s: float, repeat: int) -> Event:
    user_id, item_id = ids
    said = None if np.isnan(value) else value
    time_ms = round(time_s * 1000)
    content = f"{len(user_id)}:{user_id}{len(item_id)}:{item_id}{kind}|{said}|{time_s if time_ms else 0.0}|{repeat}"
    digest = hashlib.blake2b(content.encode(), digest_size=_ID_BYTES).hexdigest()
    return Event(("import-" if time_ms else UNDATED) + digest, user_id, item_id, kind, time_ms, said)


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    total: int
    progress: Progress


def _batches(facts: Sequence[Fact], size: int) -> Iterator[Sequence[Fact]]:
    return (facts[start : start + size] for start in range(0, len(facts), size))


async def _send(
    kind: _Kind,
    batches: Iterator[Sequence[Fact]],
    send: Callable[[Sequence[Fact]], Awaitable[Sequence[Rejection]]],
    id_of: Callable[[Fact], str],
) -> ImportedKind:
    tally = _Tally(kind)
    for batch in batches:
        tally.add([id_of(fact) for fact in batch], await send(batch))
    return tally.result()


async def _stream(kind: _Kind, batches: Iterator[Sequence[Event]], sink: ImportSink) -> ImportedKind:
    tally, on_the_way = _Tally(kind), deque[Sequence[Event]]()

    async def sent() -> AsyncIterator[Sequence[Event]]:
        for batch in batches:
            on_the_way.append(batch)
            yield batch
            await asyncio.sleep(0)  # making batches is all computation: the answers get their turn

    async for rejected in sink.record_events(sent()):
        tally.add([event.event_id for event in on_the_way.popleft()], rejected)
    return tally.result()


@dataclass(slots=True)
class _Tally:
    kind: _Kind
    done: int = 0
    refused: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)

    def add(self, ids: Sequence[str], rejected: Sequence[Rejection]) -> None:
        self.refused += len(rejected)
        room = EXAMPLES_KEPT - len(self.examples)
        self.examples.extend((ids[one.index], one.reason) for one in rejected[:room])
        self.done += len(ids)
        self.kind.progress(ImportProgress(self.kind.name, self.done, self.kind.total))

    def result(self) -> ImportedKind:
        return ImportedKind(self.kind.name, self.done - self.refused, self.refused, tuple(self.examples))
