"""The newest items of the catalogue, kept in order as items come.

An item is as old as it says (`created_ms`), else as its first upsert.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.candidate_generation.columns import Column

Slots = npt.NDArray[np.int64]


class NewestItems:
    """A pool of the newest live items.

    Args:
        limit: how many are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._born_ms = Column(np.int64)
        self._pool: Slots = np.empty(0, np.int64)
        self._arrived: list[int] = []
        self._cut = False  # whether older items were left out of the pool

    def changed(self, slot: int, born_ms: int) -> None:
        """An item came or changed its age."""
        self._born_ms.set(slot, born_ms)
        self._arrived.append(slot)

    def born_ms(self, size: int) -> npt.NDArray[np.int64]:
        """(S,) when each item came into being, Unix milliseconds."""
        return self._born_ms.view(size)

    def pool(self, alive: npt.NDArray[np.bool_]) -> Slots:
        """The newest live slots, newest first; equal ages by slot."""
        known = self._pool[alive[self._pool]]
        if self._cut and len(known) < self._limit // 2:  # deletions ate the pool: look at everything again
            self._arrived = np.flatnonzero(alive).tolist()
            known = known[:0]
        if self._arrived:
            arrived = np.array(self._arrived, np.int64)
            self._pool = self._newest(np.union1d(known, arrived[alive[arrived]]))
            self._arrived = []
            return self._pool
        return known

    def _newest(self, slots: Slots) -> Slots:
        born_ms = self._born_ms.view(int(slots.max(initial=-1)) + 1)[slots]
        order = np.argsort(-born_ms, kind="stable")
        self._cut |= len(order) > self._limit
        return slots[order[: self._limit]]
