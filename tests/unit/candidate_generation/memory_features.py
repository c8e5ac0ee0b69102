"""A feature service in memory: a catalogue that can be watched, top lists that can be set, and faults on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field

from shared.domain.attributes import AttributeUse
from shared.domain.history import History
from shared.domain.items import Item
from shared.domain.user_state import (
    ItemChanges,
    ItemState,
    ItemStatus,
    ProjectionStatus,
    TopItems,
    TopOrder,
    UserState,
)
from shared.domain.watermark import Watermark
from shared.kernel.errors import ErrorReason, ServiceError

UNAVAILABLE = ServiceError(ErrorReason.DEPENDENCY_UNAVAILABLE, "the feature service is down")


@dataclass
class MemoryFeatures:
    """Meets `Features`. `fault` makes every call fail until it is None again; `watches` counts opened streams."""

    batch_size: int = 500
    fault: ServiceError | None = None
    top: dict[tuple[TopOrder, str], TopItems] = field(default_factory=dict)
    top_calls: list[tuple[TopOrder, str]] = field(default_factory=list)
    watches: list[Watermark] = field(default_factory=list)
    hold_back: bool = False  # whether the first reading never ends
    _log: list[tuple[str, ItemState | None]] = field(default_factory=list)
    _grown: asyncio.Event = field(default_factory=asyncio.Event)

    def upsert(self, *items: Item, popularity: float = 0.0, first_seen_ms: int = 0) -> None:
        """Put items into the catalogue."""
        for item in items:
            place = str(Watermark.of(len(self._log) + 1))
            state = ItemState(item.item_id, ItemStatus.PRESENT, item, popularity, 0.0, place, first_seen_ms)
            self._log.append((item.item_id, state))
        self._wake()

    def delete(self, *item_ids: str) -> None:
        """Take items out of the catalogue."""
        self._log.extend((item_id, None) for item_id in item_ids)
        self._wake()

    def rebuild(self, items: Iterable[Item]) -> None:
        """Begin again on another log: earlier positions mean nothing any more."""
        self._log.clear()
        self.upsert(*items)

    def fail(self, fault: ServiceError = UNAVAILABLE) -> None:
        """Break every stream and refuse calls."""
        self.fault = fault
        self._wake()

    def recover(self) -> None:
        """Answer again."""
        self.fault = None

    async def watch_items(self, after: Watermark) -> AsyncIterator[ItemChanges]:
        """The catalogue, then its changes."""
        self.watches.append(after)
        if after.offset() > len(self._log):
            raise ServiceError(ErrorReason.WATERMARK_INVALID, f"position {after} is beyond this log")
        position = after.offset()
        while True:
            grown = self._grown
            if self.fault is not None:
                raise self.fault
            stop = min(position + self.batch_size, len(self._log))
            yield self._changes(position, stop)
            position = stop
            if position == len(self._log):
                await grown.wait()

    async def top_items(
        self, order: TopOrder, *, category: str = "", limit: int = 100, page_token: str = ""
    ) -> TopItems:
        """The list that was set, else an empty one; nothing stands behind it."""
        del page_token
        self.top_calls.append((order, category))
        if self.fault is not None:
            raise self.fault
        found = self.top.get((order, category), TopItems((), ()))
        return TopItems(found.item_ids[:limit], found.scores[:limit])

    async def attributes(self) -> tuple[AttributeUse, ...]:
        """None: candidate generation reads them from the items."""
        return ()

    async def items(self, item_ids: Sequence[str], *, include_vectors: bool = False) -> tuple[ItemState, ...]:
        """States in request order."""
        del include_vectors
        return tuple(self._state(item_id) for item_id in item_ids)

    async def user_state(
        self, user_id: str, min_watermark: Watermark, *, history_limit: int, budget_ms: float
    ) -> UserState:
        """Nobody is known."""
        del min_watermark, history_limit, budget_ms
        return UserState(user_id, History.empty())

    async def status(self) -> ProjectionStatus:
        """Always caught up."""
        position = str(Watermark.of(len(self._log)))
        return ProjectionStatus(position, position, caught_up=True, users=0, items=0, applied_records=len(self._log))

    def _state(self, item_id: str) -> ItemState:
        known = [state for name, state in self._log if name == item_id]
        if not known:
            return ItemState(item_id, ItemStatus.NOT_FOUND)
        return known[-1] or ItemState(item_id, ItemStatus.DELETED)

    def _changes(self, start: int, stop: int) -> ItemChanges:
        latest = dict(self._log[start:stop])
        upserted = tuple(state for state in latest.values() if state is not None)
        deleted = tuple(item_id for item_id, state in latest.items() if state is None)
        caught_up = stop == len(self._log) and not self.hold_back
        return ItemChanges(upserted, deleted, str(Watermark.of(stop)), caught_up)

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()
