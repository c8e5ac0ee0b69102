"""A user's history in columns: the form in which it goes to the models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.domain.events import Event

HISTORY_LIMIT = 1000
"""The longest history that is kept of a user, in events."""
LARGEST_VALUE = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class History:
    """L events about items, oldest first. Every column has length L.

    Attributes:
        item_ids: the items.
        event_types: (L,) int32 codes of `EventType`.
        values: (L,) float32, NaN where the event carried none.
        times_ms: (L,) int64 Unix milliseconds, ascending.
        event_ids: the events' ids; empty when nobody needs them.

    Raises:
        ValueError: columns of different lengths.
    """

    item_ids: tuple[str, ...]
    event_types: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]
    times_ms: npt.NDArray[np.int64]
    event_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {len(self.item_ids), len(self.event_types), len(self.values), len(self.times_ms)}
        if len(lengths) > 1 or len(self.event_ids) not in {0, len(self.item_ids)}:
            raise ValueError(f"the history's columns differ in length: {sorted(lengths)}, {len(self.event_ids)} ids")

    def __len__(self) -> int:
        return len(self.item_ids)

    def latest(self, limit: int) -> History:
        """The last `limit` events."""
        if len(self) <= limit:
            return self
        start = len(self) - limit
        return History(
            self.item_ids[start:],
            self.event_types[start:],
            self.values[start:],
            self.times_ms[start:],
            self.event_ids[start:],
        )

    def without(self, row: int) -> History:
        """The history as if one event had never happened."""
        kept = [place for place in range(len(self)) if place != row]
        return History(
            tuple(self.item_ids[place] for place in kept),
            self.event_types[kept],
            self.values[kept],
            self.times_ms[kept],
            tuple(self.event_ids[place] for place in kept) if self.event_ids else (),
        )

    @classmethod
    def empty(cls) -> History:
        """The history of a user of whom nothing is known."""
        return cls((), np.empty(0, np.int32), np.empty(0, np.float32), np.empty(0, np.int64))

    @classmethod
    def of(cls, events: Sequence[Event]) -> History:
        """Columns of events that are in time order and name an item."""
        return cls(
            tuple(event.item_id for event in events),
            np.array([event.event_type for event in events], np.int32),
            value_column([np.nan if event.value is None else event.value for event in events]),
            np.array([event.event_time_ms for event in events], np.int64),
            tuple(event.event_id for event in events),
        )


def value_column(values: Sequence[float]) -> npt.NDArray[np.float32]:
    """Values of events as models read them: one too large for 32 bits becomes the largest there is, not infinite."""
    return np.clip(np.array(values, np.float64), -LARGEST_VALUE, LARGEST_VALUE).astype(np.float32)
