"""How popular each item was at any moment of the past: event counts that halve every so many days.

The same figures that the feature service keeps up to date while serving, for training on history.
E events, N items, n look-ups.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

POPULARITY_HALF_LIFE_S = 7 * 86_400.0
TREND_HALF_LIFE_S = 86_400.0


class DecayedCounts:
    """Decayed counts of every item as of any time.

    Args:
        item_rows: (E,) of the counted events.
        times_s: (E,) Unix seconds, never falling.
        items: N.
        half_life_s: after which an event counts half.
    """

    def __init__(self, item_rows: Rows, times_s: npt.NDArray[np.float64], items: int, half_life_s: float) -> None:
        order = np.argsort(item_rows, kind="stable")
        self._first = np.concatenate(([0], np.cumsum(np.bincount(item_rows, minlength=items))))
        self._origin = float(times_s[0]) if len(times_s) else 0.0
        # Times as whole milliseconds behind the item's number: one sorted key finds (item, time) by bisection.
        self._span = int((float(times_s[-1]) - self._origin) * 1000) + 2 if len(times_s) else 2
        self._keys = item_rows[order] * self._span + self._offset_ms(times_s[order])
        self._rate = np.log(2) / half_life_s
        growth = (times_s[order] - self._origin) * self._rate
        self._log_sums = np.empty(len(order))
        for row in np.flatnonzero(np.diff(self._first)):
            part = slice(self._first[row], self._first[row + 1])
            # In logarithms: the plain sum of 2^(age) overflows after a thousand half-lives.
            self._log_sums[part] = np.logaddexp.accumulate(growth[part])

    def before(self, rows: Rows, time_s: float) -> Floats:
        """(n,) counts of these items from the events strictly before a time; unknown rows (-1) have 0."""
        offset = min(self._span - 1, max(0, int(self._offset_ms(np.array([time_s]))[0])))
        known = np.where(rows >= 0, rows, 0)
        place = np.searchsorted(self._keys, known * self._span + offset, side="left")
        some = (place > self._first[known]) & (rows >= 0)
        sums = self._log_sums[np.where(some, place - 1, 0)] if len(self._log_sums) else np.zeros(len(rows))
        aged = np.exp(np.minimum(sums - (time_s - self._origin) * self._rate, 60))
        return np.where(some, aged, 0).astype(np.float32)

    def _offset_ms(self, times_s: npt.NDArray[np.float64]) -> Rows:
        return np.round((times_s - self._origin) * 1000).astype(np.int64)
