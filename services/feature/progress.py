"""How far the log is applied, and a place to wait until it is further."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from services.feature.pace import Pace
from shared.domain.log_replay import LogReplay
from shared.domain.watermark import Watermark


@dataclass
class Progress:
    """Position of the projection.

    Attributes:
        applied: everything up to here shows in every answer.
        head: the log's head as last seen; None until the log was reached.
        target: the head as it stood when the log was first reached: behind it the service is ready.
        records: applied since the service started.
        applied_ms: when the last record was applied; 0 before the first.
        failures: what does not work right now ("log", "store") and why; empty while all does.
        life: grows when the projection begins again from an earlier position, because log or store were replaced.
    """

    applied: Watermark = field(default_factory=Watermark)
    head: Watermark | None = None
    target: Watermark | None = None
    records: int = 0
    applied_ms: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    life: int = 0
    _pace: Pace = field(default_factory=Pace)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ready(self) -> bool:
        """Whether the state includes all that the log held when the service first saw it."""
        return self.target is not None and self.applied.covers(self.target)

    @property
    def caught_up(self) -> bool:
        """Whether replay is over and the projection follows the log; new records may be on their way at any moment."""
        return self.ready and not self.failures

    @property
    def behind(self) -> int:
        """Records between what is applied and the head as last seen."""
        return 0 if self.head is None else _records(self.head) - _records(self.applied)

    @property
    def replay(self) -> LogReplay | None:
        """How far the replay is; None when it is over, or the log was not reached yet."""
        if self.target is None or self.ready:
            return None
        return LogReplay(_records(self.applied), _records(self.target), self._pace.per_second())

    def advance(self, applied: Watermark, records: int, now_ms: int) -> None:
        """Records have been applied."""
        self.applied = self.applied.joined(applied)  # a record's own position names its partition only
        self.records += records
        self.applied_ms = now_ms
        self._pace.note(now_ms, self.records)
        self.notify()

    def see_head(self, head: Watermark) -> None:
        """The log told where its head is."""
        self.head = head
        if self.target is None:
            self.target = head
            self.notify()  # who waits for `ready` looks again

    def restart(self, applied: Watermark) -> None:
        """No more than this is applied now."""
        self.applied, self.head, self.target = applied, None, None
        self.life += 1
        self.notify()

    def notify(self) -> None:
        """Wake everybody who waits for the next move."""
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def next_move(self) -> None:
        """Wait until something was applied."""
        await self._moved.wait()

    async def reach(self, wanted: Watermark, budget_ms: float) -> bool:
        """Wait until the position is applied; False when the budget is not enough."""
        if self.applied.covers(wanted):
            return True
        try:
            async with asyncio.timeout(max(0.0, budget_ms) / 1000):
                while not self.applied.covers(wanted):
                    await self.next_move()
        except TimeoutError:
            return self.applied.covers(wanted)
        return True


def _records(position: Watermark) -> int:
    return sum(offset for _, offset in position.positions)
