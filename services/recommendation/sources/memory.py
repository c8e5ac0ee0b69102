"""What this process remembers."""

from __future__ import annotations

from services.recommendation.interleaving import interleaved
from services.recommendation.memory import Memory
from services.recommendation.stages import Found, Wish


class MemorySource:
    """What this process remembers."""

    name = "memory"

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    async def find(self, wish: Wish, _budget_ms: float) -> Found:
        """Neighbours of the latest items and popular ones, merged."""
        return Found(interleaved(self._memory.neighbours(wish.viewer.history), self._memory.popular()))
