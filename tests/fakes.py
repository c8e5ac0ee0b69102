"""Hand-written stand-ins for ports: they behave like the real thing, in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from shared.domain.event_log import Erasure, ErasureReceipt, Fact, LogBatch, LogRecord, SentEvent
from shared.domain.events import Event
from shared.domain.intake import Recorded
from shared.domain.items import User
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.kernel.clock import Clock, system_clock
from shared.wire.log import fact_from_bytes


@dataclass
class MemoryLog:
    """An `EventLog` and the `Feedback` port over it, kept in a list.

    `disconnect(error)` ends every reader with that error, as a lost connection does; while `unreachable` is set every
    new reader gets it too. `tails` counts the readers that were ever opened.
    """

    clock: Clock = system_clock
    records: list[LogRecord] = field(default_factory=list)
    unreachable: Exception | None = None
    tails: int = 0
    _event_ids: set[str] = field(default_factory=set)
    _slates: dict[tuple[str, int], ServedSlate] = field(default_factory=dict)
    _generations: dict[str, int] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    _grown: asyncio.Condition = field(default_factory=asyncio.Condition)
    _losses: int = 0

    async def append(self, facts: Sequence[Fact | SentEvent]) -> Watermark:
        """Append what is not in the log yet, wake the readers."""
        for fact in facts:
            self._append(fact_from_bytes(fact.payload) if isinstance(fact, SentEvent) else fact)
        async with self._grown:
            self._grown.notify_all()
        return self._position()

    async def record_slates(self, slates: Sequence[ServedSlate]) -> Recorded:
        """Append served slates."""
        return Recorded(await self.append(slates), {})

    async def head(self) -> Watermark:
        """The position behind the last record."""
        return self._position()

    async def slate(self, recommendation_id: str) -> ServedSlate | None:
        """The first page's slate of an id."""
        return self._slates.get((recommendation_id, 0))

    async def tail(self, after: Watermark, *, follow: bool, batch_size: int = 500) -> AsyncIterator[LogBatch]:
        """Batches behind a position; an empty one whenever a follower has caught up."""
        self.tails += 1
        losses, start, last = self._losses, after.offset(), len(self.records)
        while True:
            self._check(losses)
            stop = min(start + batch_size, len(self.records) if follow else last)
            if stop > start or follow:
                yield LogBatch(tuple(self.records[start:stop]), Watermark.of(stop), self._position())
            if stop == start and not follow:
                return
            if stop == start:
                await self._grow(start, losses)
            start = stop

    async def user_records(self, user_id: str) -> AsyncIterator[LogBatch]:
        """Everything that is held about a user, oldest first."""
        subject = self.subject(user_id)
        mine = tuple(record for record in self.records if record.subject == subject)
        yield LogBatch(mine, self._position(), self._position())

    async def erase(self, user_id: str) -> ErasureReceipt | None:
        """Forget the payloads and append the tombstone; the user's next record has a new subject."""
        if user_id not in self._known:
            return None
        subject, now = self.subject(user_id), self.clock()
        held = [row for row, record in enumerate(self.records) if record.subject == subject]
        for row in held:
            self.records[row] = self.records[row]._replace(fact=None)
        self._slates = {key: slate for key, slate in self._slates.items() if slate.user_id != user_id}
        self._known.discard(user_id)
        self._add(subject, Erasure(now))
        self._generations[user_id] = self._generations.get(user_id, 0) + 1
        async with self._grown:
            self._grown.notify_all()
        first = self.records[held[0]].watermark if held else None
        return ErasureReceipt(self._position(), len(held), now, first)

    async def disconnect(self, error: Exception) -> None:
        """End every reader with this error, and refuse new ones until `reconnect`."""
        self.unreachable = error
        self._losses += 1
        async with self._grown:
            self._grown.notify_all()

    def reconnect(self) -> None:
        """Let new readers in again."""
        self.unreachable = None

    def subject(self, user_id: str) -> str:
        """The pseudonym under which the user's next record stands; it does not contain the id."""
        if not user_id:
            return ""
        return hashlib.sha256(f"{self._generations.get(user_id, 0)}:{user_id}".encode()).hexdigest()[:24]

    def _append(self, fact: Fact) -> None:
        if isinstance(fact, Event):
            if fact.event_id in self._event_ids:
                return
            self._event_ids.add(fact.event_id)
        if isinstance(fact, ServedSlate):
            if (fact.recommendation_id, fact.first_position) in self._slates:
                return
            self._slates[fact.recommendation_id, fact.first_position] = fact
        user_id = fact.user_id if isinstance(fact, Event | ServedSlate | User) else ""
        if user_id:
            self._known.add(user_id)
        self._add(self.subject(user_id), fact)

    def _add(self, subject: str, fact: Fact) -> None:
        self.records.append(LogRecord(Watermark.of(len(self.records) + 1), self.clock(), subject, fact))

    def _position(self) -> Watermark:
        return Watermark.of(len(self.records))

    async def _grow(self, start: int, losses: int) -> None:
        async with self._grown:
            await self._grown.wait_for(lambda: len(self.records) > start or self._losses != losses)

    def _check(self, losses: int) -> None:
        if self.unreachable is not None:
            raise self.unreachable
        if self._losses != losses:
            raise ConnectionResetError("the reader lost its connection")
