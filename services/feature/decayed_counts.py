"""Event counts that lose half their weight every half-life: popularity and trend of each item.

An event is counted as an integer in the bucket (a part of the half-life) of its own time, so the counts do not
depend on the order in which events arrive, an erased user's events can be taken out exactly, and replaying the log
gives the same numbers to the last bit.

Now is the newest bucket in which anything happened, never the clock, and half a year without any event begins a new
era: what was before it counts as one half-life older than what follows, not as years. So imported data from 1998 is as
popular as it was then, and half as popular, instead of not at all, after today's first live event.

Dimensions: N items, C buckets that are held, n events or rows of a batch. A column's counts lie side by side, because
buckets come and go as a whole, short ones many times in a replay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

BUCKETS_PER_HALF_LIFE = 8
EVALUATED_BUCKETS = 64
"""Most buckets, newest first, that a value is made of."""
EVALUATED_HALF_LIVES = 8
"""The first bucket left out has lost 255/256 of its weight."""
HELD_BUCKETS = 72
"""Some more are held: when an erasure empties the newest bucket, an older one counts again."""
ERA_GAP_MS = 180 * 86_400_000
"""A time without any event that is longer than this separates two eras."""
_SCALE = 1 << 30  # weights are whole numbers, so that sums do not depend on their order
_AT_ONCE = 4096
"""Up to so many rows are evaluated in one product."""
_PAIR = np.dtype([("bucket", "<i4"), ("count", "<i4")])

Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int32]


class DecayedCounts:
    """Counts of N items in C buckets; row i belongs to item i. Each row takes 296 bytes.

    Args:
        half_life_ms: time in which a count loses half its weight.
        buckets_per_half_life: with fewer a value is coarser, and more is held beyond what it is made of.

    Attributes:
        shifts: how often the weights changed, and with them every value.
        open_from_ms: nothing of before may be added any more, see `close`.
    """

    def __init__(self, half_life_ms: int, buckets_per_half_life: int = BUCKETS_PER_HALF_LIFE) -> None:
        self.bucket_ms = half_life_ms // buckets_per_half_life
        self._per_half_life = buckets_per_half_life
        self._counts = np.zeros((HELD_BUCKETS, 1024), np.int32)  # (C, N)
        self._buckets = np.full(HELD_BUCKETS, -1, np.int64)  # (C,) bucket of a column, -1 = free
        self._columns: dict[int, int] = {}
        self._values = np.zeros(1024, np.float64)  # (N,) derived
        self._changed: list[Ints] = []  # rows whose value is out of date
        self.shifts = 0
        self._evaluated_shifts = 0
        self._weights: tuple[list[int], Ints] = [], np.empty(0, np.int64)
        self._weights_shifts = 0
        self.open_from_ms = 0

    @property
    def window_start_ms(self) -> int | None:
        """Events before this time count nothing; None while every event counts."""
        return min(self._columns) * self.bucket_ms if len(self._columns) == HELD_BUCKETS else None

    def reserve(self, size: int) -> None:
        """Make room for at least `size` rows."""
        held = len(self._values)
        if size <= held:
            return
        capacity = max(size, 2 * held)
        counts = np.zeros((HELD_BUCKETS, capacity), np.int32)
        counts[:, :held] = self._counts
        self._counts = counts
        self._values = np.concatenate([self._values, np.zeros(capacity - held)])

    def add(self, rows: Ints, times_ms: Ints) -> None:
        """Count n events; those that are too old to matter are left out."""
        buckets, inverse = np.unique(times_ms // self.bucket_ms, return_inverse=True)
        self._hold(buckets)
        self._apply(rows, buckets, inverse, np.ones(len(rows), np.int32))

    def remove(self, rows: Ints, times_ms: Ints) -> None:
        """Take n events out that were counted before."""
        buckets, inverse = np.unique(times_ms // self.bucket_ms, return_inverse=True)
        self._apply(rows, buckets, inverse, np.full(len(rows), -1, np.int32))
        self._counts[:, rows] = np.maximum(self._counts[:, rows], 0)
        self._release([bucket for bucket in buckets.tolist() if self._empty(bucket)])

    def close(self, before_ms: int) -> None:
        """Take out everything before a moment, in whole buckets: the one with the moment goes too. 0: nothing."""
        if before_ms:
            bucket = before_ms // self.bucket_ms
            self._release([each for each in self._columns if each <= bucket])
            self.open_from_ms = max(self.open_from_ms, (bucket + 1) * self.bucket_ms)

    def values(self) -> npt.NDArray[np.float64]:
        """(capacity,) decayed count of each row; 1.0 for one event in the newest bucket. Not to be kept or changed."""
        if self._evaluated_shifts != self.shifts:
            self._values[:] = self._evaluate(self._counts)
        elif self._changed:
            rows = np.unique(np.concatenate(self._changed))
            self._values[rows] = self._evaluate(self._counts[:, rows])
        self._evaluated_shifts, self._changed = self.shifts, []
        return self._values

    def pairs(self, row: int) -> list[tuple[int, int]]:
        """The evaluated (bucket, count) pairs of a row, oldest first: its canonical form."""
        oldest = self._evaluated()
        held = zip(self._buckets.tolist(), self._counts[:, row].tolist(), strict=True)
        return sorted((bucket, count) for bucket, count in held if count and bucket in oldest)

    def packed(self, rows: Sequence[int]) -> list[bytes]:
        """Each row's (bucket, count) pairs, to be stored."""
        counts = self._counts[:, rows].T  # (n, C)
        which, columns = counts.nonzero()
        pairs = np.empty(len(which), _PAIR)
        pairs["bucket"], pairs["count"] = self._buckets[columns], counts[which, columns]
        ends = np.searchsorted(which, np.arange(len(rows) + 1)) * _PAIR.itemsize
        data = pairs.tobytes()
        return [data[start:stop] for start, stop in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]

    def load(self, rows: Sequence[int], packed: Iterable[bytes]) -> None:
        """Put stored rows back."""
        parts = [np.frombuffer(data, _PAIR) for data in packed]
        pairs = np.concatenate(parts) if parts else np.empty(0, _PAIR)
        repeated = np.repeat(np.asarray(rows, np.int64), [len(part) for part in parts])
        buckets, inverse = np.unique(pairs["bucket"], return_inverse=True)
        self._hold(buckets)
        self._apply(repeated, buckets, inverse, pairs["count"].astype(np.int32))

    def used(self, row: int) -> bool:
        """Whether anything is counted in the row."""
        return bool(self._counts[:, row].any())

    def _apply(self, rows: Ints, buckets: Ints, inverse: Ints, amounts: Counts) -> None:
        columns = np.array([self._columns.get(bucket, -1) for bucket in buckets.tolist()], np.int64)[inverse]
        held = columns >= 0
        np.add.at(self._counts, (columns[held], rows[held]), amounts[held])
        self._changed.append(rows[held])

    def _hold(self, buckets: Ints) -> None:
        """Give the newest buckets columns, new ones among them; the others lose theirs."""
        new = [bucket for bucket in buckets.tolist() if bucket not in self._columns]
        if not new:
            return
        kept = set(sorted([*self._columns, *new])[-HELD_BUCKETS:])
        self._release([bucket for bucket in self._columns if bucket not in kept])
        free = np.flatnonzero(self._buckets < 0).tolist()
        for bucket, column in zip((bucket for bucket in new if bucket in kept), free, strict=False):
            self._columns[bucket] = column
            self._buckets[column] = bucket
        self.shifts += 1

    def _release(self, buckets: Iterable[int]) -> None:
        for bucket in buckets:
            column = self._columns.pop(bucket)
            self._counts[column] = 0
            self._buckets[column] = -1
            self.shifts += 1

    def _empty(self, bucket: int) -> bool:
        return bucket in self._columns and not self._counts[self._columns[bucket]].any()

    def _evaluated(self) -> set[int]:
        most = min(EVALUATED_BUCKETS, EVALUATED_HALF_LIVES * self._per_half_life)
        return set(sorted(self._columns)[-most:])

    def _evaluate(self, counts: Counts) -> npt.NDArray[np.float64]:
        """(n,) values of (C, n) counts; exact integer sums."""
        columns, weights = self._weighed()
        if counts.shape[1] <= _AT_ONCE:
            return (weights @ counts[columns].astype(np.int64)) / _SCALE
        total = np.zeros(counts.shape[1], np.int64)  # column by column: all at once would be several copies of them
        for column, weight in zip(columns, weights, strict=True):
            total += counts[column] * weight
        return total / _SCALE

    def _weighed(self) -> tuple[list[int], Ints]:
        """The columns that values are made of, and their weights; the same until the next shift."""
        if self._weights_shifts != self.shifts:
            ages = self._ages()
            weights = [round(_SCALE * 2.0 ** (-age / self._per_half_life)) for age in ages.values()]
            self._weights = [self._columns[bucket] for bucket in ages], np.array(weights, np.int64)
            self._weights_shifts = self.shifts
        return self._weights

    def _ages(self) -> dict[int, int]:
        """Age of each evaluated bucket, in buckets."""
        newest_first = sorted(self._evaluated(), reverse=True)
        ages = dict.fromkeys(newest_first[:1], 0)
        for newer, older in pairwise(newest_first):
            gap = newer - older
            ages[older] = ages[newer] + (self._per_half_life if gap * self.bucket_ms > ERA_GAP_MS else gap)
        return ages
