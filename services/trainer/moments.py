"""What the catalogue was like at a moment of the past: how popular each item was, how old, and what led the lists.

The same figures that the feature service keeps up to date while serving.
N items, n look-ups, E events.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from services.trainer.datasets import Interactions
from services.trainer.decayed_counts import POPULARITY_HALF_LIFE_S, TREND_HALF_LIFE_S, DecayedCounts
from shared.domain.events import CONSUMING
from shared.domain.items import Item

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

LISTED = 500
"""Items that a list of the most popular holds: those that a user has had are taken out afterwards."""
_COUNTED = np.array(sorted(CONSUMING), np.int64)
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class TopLists:
    """The leaders of both counts, best first, without items that nobody took.

    Attributes:
        popular, trending: at most `LISTED` item rows each.
    """

    popular: Rows
    trending: Rows


@dataclass(frozen=True, slots=True)
class Moments:
    """Decayed counts, ages and top lists at any time.

    Attributes:
        popularity, trend: counts of consuming events, as the feature service counts them.
        created_ms: (N,) when each item came, 0 = not known.
    """

    popularity: DecayedCounts
    trend: DecayedCounts
    created_ms: Rows
    _lists: dict[float, TopLists] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, events: Interactions, items: tuple[Item, ...]) -> Moments:
        """Count events that may be known."""
        counted = np.isin(events.event_types, _COUNTED)
        rows, times_s = events.item_rows[counted].astype(np.int64), events.times_s[counted]
        counts = [DecayedCounts(rows, times_s, len(items), half_life)
                  for half_life in (POPULARITY_HALF_LIFE_S, TREND_HALF_LIFE_S)]  # fmt: skip
        return cls(counts[0], counts[1], np.array([item.created_ms for item in items], np.int64))

    def ages_days(self, rows: Rows, time_s: float) -> Floats:
        """(n,) ages of items, -1 = not known."""
        created = np.where(rows >= 0, self.created_ms[rows], 0)
        ages = (time_s * 1000 - created) / 86_400_000
        return np.where(created > 0, np.maximum(ages, 0), -1).astype(np.float32)

    def top_lists(self, time_s: float) -> TopLists:
        """The leaders as of the beginning of that day: made once a day, for there are many requests a day."""
        day_s = float(np.floor(time_s / _DAY_S) * _DAY_S)
        if day_s not in self._lists:
            every = np.arange(len(self.created_ms))
            self._lists[day_s] = TopLists(
                *(_leaders(counts.before(every, day_s)) for counts in (self.popularity, self.trend))
            )
        return self._lists[day_s]


def _leaders(counts: Floats) -> Rows:
    kept = min(LISTED, len(counts))
    best = np.argpartition(-counts, kept - 1)[:kept]
    best = best[counts[best] > 0]
    return best[np.lexsort((best, -counts[best]))].astype(np.int64)
