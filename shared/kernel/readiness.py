"""Whether a service can do its own work now, and if not, why. Health tells it to the outside."""

from __future__ import annotations

import asyncio
from typing import Final

STARTING: Final = "starting"
LIVE: Final = "live"
"""Health of this name tells only that the process answers: a probe that restarts must not ask whether there is work."""


class Readiness:
    """Ready when its owner said so and nothing that runs beside holds it back. Belongs to one event loop."""

    def __init__(self) -> None:
        self._owner_reason: str | None = STARTING
        self._held: dict[str, str] = {}
        self._changed = asyncio.Event()

    @property
    def ready(self) -> bool:
        """Whether the service can do its work."""
        return self._owner_reason is None and not self._held

    @property
    def reason(self) -> str:
        """Why it cannot; empty when ready."""
        reasons = [self._owner_reason, *self._held.values()]
        return "; ".join(each for each in reasons if each is not None)

    def set(self, ready: bool, reason: str = "") -> None:  # noqa: FBT001 - reads as a sentence: readiness.set(True)
        """Says whether the service can do its work; a reason goes with False, as in `replaying the log`."""
        self._owner_reason = None if ready else reason or STARTING
        self._notify()

    def hold(self, name: str, reason: str) -> None:
        """Holds readiness back until `release(name)`: a part of the service, a background task say, is failing."""
        self._held[name] = reason
        self._notify()

    def release(self, name: str) -> None:
        """Takes back a `hold`; none there is fine."""
        if self._held.pop(name, None) is not None:
            self._notify()

    def next_change(self) -> asyncio.Event:
        """An event that is set at the next change. Take it before you look, and no change is missed."""
        return self._changed

    async def wait_ready(self) -> None:
        """Returns as soon as the service is ready."""
        while True:
            changed = self.next_change()
            if self.ready:
                return
            await changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
