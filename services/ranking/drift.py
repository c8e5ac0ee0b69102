"""Whether the requests of today look like those that the ranker learned from.

The bundle scales every feature of the training candidates to mean 0 and deviation 1. So the running mean and deviation
of the scaled features say, without any other reference, how far the population has moved since. A bundle also keeps the
distributions of the features and of its own probabilities; the population stability index compares those of today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from services.ranking import telemetry
from shared.domain.events import EventType
from shared.domain.ranking import RankingRequest, RankingResult
from shared.model.knowledge import NAMES
from shared.model.ranker import RankerModel
from shared.model.reference import Distribution, Reference, probability_name

Floats = npt.NDArray[np.float32]

NEWEST: Final = 0.01
"""Weight of the newest request in the running means: they look back on some hundred requests."""

NEWEST_OF_MANY: Final = 0.002
"""The same for distributions, which need more: with few requests chance alone moves them."""

ENOUGH: Final = 500
"""Requests from which on a distribution is compared."""


TOLD_EVERY: Final = 20
"""Answers between two settings of the gauges."""


class WatchedScorer:
    """Scores as the bundle's own ranker does, and watches what it sees and says."""

    def __init__(self, model: RankerModel) -> None:
        self._model = model
        self._drift = Drift(NAMES, model.parts.reference)
        self._answers = 0
        self._begun = False

    def begin(self) -> None:
        """Watch from now on: what came before was to warm up."""
        telemetry.POPULATION_STABILITY.clear()
        self._model.on_features = self._drift.saw
        self._begun = True

    def score(self, requests: Sequence[RankingRequest]) -> Sequence[RankingResult]:
        """One result a request."""
        results = self._model.score(requests)
        if not self._begun:
            return results
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
        reference: their distributions in training; None: not known.
    """

    def __init__(self, names: Sequence[str], reference: Reference | None = None) -> None:
        self._names = tuple(names)
        self._mean = np.zeros(len(names))
        self._square = np.ones(len(names))
        self._probabilities: dict[int, float] = {}
        self._populations = {name: Population(each) for name, each in _distributions(reference).items()}

    def saw(self, features: Floats) -> None:
        """Add one request's (N, K) scaled features."""
        if not len(features):
            return
        self._mean += NEWEST * (features.mean(axis=0, dtype=np.float64) - self._mean)
        self._square += NEWEST * (np.square(features, dtype=np.float64).mean(axis=0) - self._square)
        for name, values in zip(self._names, features.T, strict=True):
            self._count(name, values)

    def said(self, result: RankingResult) -> None:
        """Add one answer."""
        if not len(result.probabilities):
            return
        for action, given in zip(result.actions, result.probabilities.T, strict=True):
            mean = float(given.mean(dtype=np.float64))
            before = self._probabilities.get(action, mean)
            self._probabilities[action] = before + NEWEST * (mean - before)
            self._count(probability_name(EventType(action).label), given)

    def tell(self) -> None:
        """Set the gauges."""
        spread = np.sqrt(np.maximum(0, self._square - np.square(self._mean)))
        for name, mean, deviation in zip(self._names, self._mean, spread, strict=True):
            telemetry.FEATURE_SHIFT.labels(name).set(abs(mean))
            telemetry.FEATURE_SPREAD.labels(name).set(deviation)
        for action, probability in self._probabilities.items():
            telemetry.PROBABILITY.labels(EventType(action).label).set(probability)
        for name, population in self._populations.items():
            if population.requests >= ENOUGH:
                telemetry.POPULATION_STABILITY.labels(name).set(population.stability())

    def _count(self, name: str, values: Floats) -> None:
        if population := self._populations.get(name):
            population.saw(values)


class Population:
    """The running distribution of one quantity.

    Args:
        trained: its distribution in training.

    Attributes:
        requests: how many were seen.
    """

    def __init__(self, trained: Distribution) -> None:
        self._trained = trained
        self._shares = np.zeros(len(trained.shares))
        self.requests = 0

    def saw(self, values: Floats) -> None:
        """Add one request's values; each request weighs the same. The first ones are plainly averaged."""
        self.requests += 1
        self._shares += max(NEWEST_OF_MANY, 1 / self.requests) * (self._trained.shares_of(values) - self._shares)

    def stability(self) -> float:
        """The population stability index."""
        return self._trained.stability(self._shares)


def _distributions(reference: Reference | None) -> Mapping[str, Distribution]:
    return reference.distributions if reference else {}
