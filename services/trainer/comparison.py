"""Whether one recommender is better than another on the same requests, and how surely.

S scored users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from services.trainer import metrics
from services.trainer.evaluation import Metrics
from services.trainer.metrics_intervals import bootstrap_difference


@dataclass(frozen=True, slots=True)
class Difference:
    """NDCG@k of one recommender minus that of another, over the same users.

    Attributes:
        name, against: whose.
        mean: of the difference.
        low, high: its 95 % bootstrap interval; clear of 0 means that the difference is real.
        relative: the mean as a share of the other's NDCG; None where that is 0.
    """

    name: str
    against: str
    mean: float
    low: float
    high: float
    relative: float | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def differences(measured: Sequence[Metrics], seed: int = 0) -> list[Difference]:
    """The last one against each of the others that was asked for the same targets."""
    *others, last = measured
    rng = np.random.default_rng(seed)
    return [_difference(last, other, rng) for other in others
            if (other.split, other.k, len(other.ranks)) == (last.split, last.k, len(last.ranks))]  # fmt: skip


def _difference(ours: Metrics, theirs: Metrics, rng: np.random.Generator) -> Difference:
    gains, other_gains = (metrics.discounted_gains(each.ranks, each.k) for each in (ours, theirs))
    mean, level = float((gains - other_gains).mean()), float(other_gains.mean())
    low, high = bootstrap_difference(gains, other_gains, rng)
    return Difference(ours.name, theirs.name, mean, low, high, mean / level if level else None)
