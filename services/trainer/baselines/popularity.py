"""What most people took: over all time, or within the last days."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from services.trainer.baselines.scoring import Floats, Scorer, TrainingSet, Variants, without_zeros
from services.trainer.evaluation import Requests

WINDOWS_DAYS = (1, 3, 7, 14, 30, 90)
_SECONDS_PER_DAY = 86_400.0


class Popularity:
    """Events of each item over all time."""

    def fit(self, training: TrainingSet) -> Variants:
        """One setting: there is nothing to choose."""
        return {"all time": partial(_Constant, training.popularity.astype(np.float32))}


class RecentPopularity:
    """Events of each item within some days: before the end of the train part, or before the request."""

    def fit(self, training: TrainingSet) -> Variants:
        """One setting for each window and end."""
        variants: dict[str, Callable[[], Scorer]] = {}
        for days in WINDOWS_DAYS:
            variants[f"last {days} days of train"] = partial(_until_the_end, training, days)
            variants[f"last {days} days at request"] = partial(_AtRequest, training, days)
        return variants


@dataclass(frozen=True, slots=True)
class _Constant:
    counts: Floats  # (I,)

    def scores(self, requests: Requests) -> Floats:
        return np.broadcast_to(without_zeros(self.counts), (len(requests), len(self.counts)))


def _until_the_end(training: TrainingSet, days: float) -> Scorer:
    times = training.events.times_s
    recent = times > times[-1] - days * _SECONDS_PER_DAY
    counts = np.bincount(training.events.item_rows[recent], minlength=training.items_count)
    return _Constant(counts.astype(np.float32))


@dataclass(frozen=True, slots=True)
class _AtRequest:
    training: TrainingSet
    days: float

    def scores(self, requests: Requests) -> Floats:
        times = self.training.events.times_s
        starts = np.searchsorted(times, requests.request_times_s - self.days * _SECONDS_PER_DAY, side="right")
        stops = np.searchsorted(times, requests.request_times_s, side="right")
        counts: npt.NDArray[np.int64] = np.stack([
            np.bincount(self.training.events.item_rows[start:stop], minlength=self.training.items_count)
            for start, stop in zip(starts, stops, strict=True)
        ])  # fmt: skip
        return without_zeros(counts)
