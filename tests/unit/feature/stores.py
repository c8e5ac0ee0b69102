"""A store that refuses to write when it is told to."""

from __future__ import annotations

from dataclasses import dataclass

from services.feature.memory_store import MemoryFeatureStore
from services.feature.store import Changes
from shared.kernel.errors import ErrorReason, ServiceError


@dataclass
class RefusingStore(MemoryFeatureStore):
    """Refuses the next `refusals` commits; counts those it took and was asked for."""

    refusals: int = 0
    attempts: int = 0
    commits: int = 0

    async def commit(self, changes: Changes) -> None:
        """Write, or refuse as a full disk does."""
        self.attempts += 1
        if self.refusals > 0:
            self.refusals -= 1
            raise ServiceError(ErrorReason.STORAGE_FULL, "the disk under /x is full; free some space")
        await super().commit(changes)
        self.commits += 1
