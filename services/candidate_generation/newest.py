"""The latest arrivals of the catalogue, kept in order as items come.

What counts is when the catalogue first got an item: a film of 1950 that was added today is as unknown as a new one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.candidate_generation.columns import Column

Slots = npt.NDArray[np.int64]


class NewestItems:
    """A pool of the live items that arrived last.

    Args:
        limit: how many are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen_ms = Column(np.int64)
        self._pool: Slots = np.empty(0, np.int64)
        self._arrived: list[int] = []
        self._cut = False  # whether older items were left out of the pool

    def arrived(self, slot: int, seen_ms: int) -> None:
        """An item came."""
        self._seen_ms.set(slot, seen_ms)
        self._arrived.append(slot)

    def pool(self, alive: npt.NDArray[np.bool_]) -> Slots:
        """The latest live slots, latest first; of those that came together the higher slots first."""
        known = self._pool[alive[self._pool]]
        if self._cut and len(known) < self._limit // 2:  # deletions ate the pool: look at everything again
            self._arrived = np.flatnonzero(alive).tolist()
            known, self._cut = known[:0], False
        if self._arrived:
            arrived = np.array(self._arrived, np.int64)
            self._pool = self._newest(np.union1d(known, arrived[alive[arrived]]))
            self._arrived = []
            return self._pool
        return known

    def _newest(self, slots: Slots) -> Slots:
        order = np.lexsort((-slots, -self._seen_ms.take(slots)))
        self._cut |= len(order) > self._limit
        return slots[order[: self._limit]]
