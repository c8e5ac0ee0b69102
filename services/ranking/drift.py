"""Whether the requests of today look like those that the ranker learned from.

The bundle scales every feature of the training candidates to mean 0 and deviation 1. So the running mean and deviation
of the scaled features say, without any other reference, how far the population has moved since.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from services.ranking import telemetry
from shared.domain.events import EventType
from shared.domain.ranking import RankingRequest, RankingResult
from shared.model.knowledge import NAMES
from shared.model.ranker import RankerModel

Floats = npt.NDArray[np.float32]

NEWEST: Final = 0.01
"""Weight of the newest request in the running means: they look back on some hundred requests."""


TOLD_EVERY: Final = 20
"""Answers between two settings of the gauges."""


class WatchedScorer:
    """Scores as the bundle's own ranker does, and watches what it sees and says."""

    def __init__(self, model: RankerModel) -> None:
        self._model = model
        self._drift = Drift(NAMES)
        self._answers = 0
        model.on_features = self._drift.saw

    def score(self, requests: Sequence[RankingRequest]) -> Sequence[RankingResult]:
        """One result a request."""
        results = self._model.score(requests)
        for each in results:
            self._drift.said(each)
        self._answers += len(results)
        if self._answers >= TOLD_EVERY:
            self._answers = 0
            self._drift.tell()
        return results


class Drift:
    """Running means of what one bundle sees and says; a new bundle gets a new one.

    Args:
        names: of the K features.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._mean = np.zeros(len(names))
        self._square = np.ones(len(names))
        self._probabilities: dict[int, float] = {}

    def saw(self, features: Floats) -> None:
        """Add one request's (N, K) scaled features."""
        if not len(features):
            return
        self._mean += NEWEST * (features.mean(axis=0, dtype=np.float64) - self._mean)
        self._square += NEWEST * (np.square(features, dtype=np.float64).mean(axis=0) - self._square)

    def said(self, result: RankingResult) -> None:
        """Add one answer."""
        if not len(result.probabilities):
            return
        for action, mean in zip(result.actions, result.probabilities.mean(axis=0, dtype=np.float64), strict=True):
            before = self._probabilities.get(action, float(mean))
            self._probabilities[action] = before + NEWEST * (float(mean) - before)

    def tell(self) -> None:
        """Set the gauges."""
        spread = np.sqrt(np.maximum(0, self._square - np.square(self._mean)))
        for name, mean, deviation in zip(self._names, self._mean, spread, strict=True):
            telemetry.FEATURE_SHIFT.labels(name).set(abs(mean))
            telemetry.FEATURE_SPREAD.labels(name).set(deviation)
        for action, probability in self._probabilities.items():
            telemetry.PROBABILITY.labels(EventType(action).label).set(probability)
