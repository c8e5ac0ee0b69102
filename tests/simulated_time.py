"""An event loop whose clock leaps to the next timer instead of waiting: hours of load in a moment, the same each time.

What runs takes no time, only what sleeps does. Threads and sockets are not waited for: what is tried here lives in
memory.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Leaping(selectors.DefaultSelector):
    """Never waits; says how long it would have."""

    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now, else nothing, that much later."""
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("everybody waits and no timer is set: in simulated time nothing will ever happen")
            self._loop.now_s += timeout
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """The loop; `now_s` is what its clock shows."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(_Leaping(self))

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self.now_s


def simulated(work: Coroutine[Any, Any, T]) -> T:
    """What the work gives, in simulated time."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(work)
