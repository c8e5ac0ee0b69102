"""Availability windows in columns: who may be recommended at a moment.

The answer only changes when a window opens or closes, so it is kept until the next such moment.

S slots.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.candidate_generation.columns import Column
from shared.domain.items import Item

_FOR_EVER = np.iinfo(np.int64).max
_SINCE_EVER = np.iinfo(np.int64).min


class AvailabilityWindows:
    """The windows of all items, [from, until) in Unix milliseconds."""

    def __init__(self) -> None:
        self._from_ms = Column(np.int64)
        self._until_ms = Column(np.int64, _FOR_EVER)
        self._windowed = 0

    def changed(self, slot: int, old: Item | None, new: Item) -> None:
        """An item's content is new."""
        self._windowed += _has_window(new) - (old is not None and _has_window(old))
        self._from_ms.set(slot, new.available_from_ms)
        self._until_ms.set(slot, new.available_until_ms or _FOR_EVER)

    def forget(self, item: Item) -> None:
        """An item's slot is given up."""
        self._windowed -= _has_window(item)

    def open_at(self, time_ms: int, size: int) -> tuple[npt.NDArray[np.bool_] | None, int, int]:
        """Which windows are open at a moment, and from when until when that answer holds.

        Returns:
            (S,) mask (None: all are open), and the half-open interval of moments with the same answer.
        """
        if not self._windowed:
            return None, _SINCE_EVER, _FOR_EVER
        opens, closes = self._from_ms.view(size), self._until_ms.view(size)
        bounds = np.concatenate([opens, closes])
        since = int(bounds[bounds <= time_ms].max(initial=_SINCE_EVER))
        until = int(bounds[bounds > time_ms].min(initial=_FOR_EVER))
        return (opens <= time_ms) & (time_ms < closes), since, until


def _has_window(item: Item) -> bool:
    return item.available_from_ms > 0 or item.available_until_ms > 0
