"""Whether today's requests look like those of the training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import REGISTRY

from services.ranking.drift import ENOUGH, Drift, WatchedScorer
from services.ranking.loading import full_request
from shared.domain.events import EventType
from shared.domain.ranking import RankingResult
from shared.model.ranker import RankerModel
from shared.model.reference import Distribution, Reference
from tests.unit.model import networks

REQUESTS = 1_000


def value(name: str, feature: str) -> float | None:
    """A gauge of a feature."""
    return REGISTRY.get_sample_value(f"winnow_ranker_feature_{name}", {"feature": feature})


def test_a_feature_that_has_moved_stands_out_from_one_that_has_not() -> None:
    rng, drift = np.random.default_rng(1), Drift(["calm", "moved", "wilder"])
    for _ in range(REQUESTS):
        drift.saw((rng.standard_normal((50, 3)) * [1, 1, 3] + [0, -2, 0]).astype(np.float32))
    drift.tell()

    assert value("shift", "calm") == pytest.approx(0, abs=0.1)
    assert value("shift", "moved") == pytest.approx(2, abs=0.1)
    assert value("spread", "calm") == pytest.approx(1, abs=0.1)
    assert value("spread", "wilder") == pytest.approx(3, abs=0.3)


def test_the_mean_of_the_probabilities_is_told_by_action_and_empty_answers_change_nothing() -> None:
    drift, nothing = Drift([]), np.empty(0, np.float32)
    drift.said(RankingResult((int(EventType.SHARE),), np.array([[0.2], [0.4]], np.float32), nothing, None, "v"))
    drift.said(RankingResult((int(EventType.SHARE),), np.empty((0, 1), np.float32), nothing, None, "v"))
    drift.saw(np.empty((0, 0), np.float32))
    drift.tell()

    assert REGISTRY.get_sample_value("winnow_ranker_probability", {"event": "share"}) == pytest.approx(0.3)


def stability(feature: str) -> float | None:
    """The gauge of a feature or probability."""
    return REGISTRY.get_sample_value("winnow_ranker_population_stability", {"feature": feature})


def test_the_index_is_small_where_the_population_is_that_of_the_training_and_large_where_it_is_not() -> None:
    rng = np.random.default_rng(2)
    trained = rng.standard_normal((50_000, 2)).astype(np.float32)
    names = ("same", "other")
    likes = Distribution.of(rng.beta(2, 8, 50_000).astype(np.float32))
    distributions = {name: Distribution.of(column) for name, column in zip(names, trained.T, strict=True)}
    drift = Drift(names, Reference(distributions | {"probability_like": likes}))
    nothing = np.empty(0, np.float32)

    for request in range(ENOUGH):
        if request == ENOUGH - 1:
            drift.tell()
            told_early = stability("other")
        drift.saw(rng.normal([0, 1], 1, (20, 2)).astype(np.float32))
        given = rng.beta(2, 3, (20, 1)).astype(np.float32)
        drift.said(RankingResult((int(EventType.LIKE),), given, nothing, None, "v"))
    drift.tell()

    assert told_early is None, "a few requests say nothing"
    assert stability("same") == pytest.approx(0, abs=0.01)
    assert stability("other") == pytest.approx(1, abs=0.15), "a shift by one deviation: (mean / deviation)²"
    assert (stability("probability_like") or 0) > 0.25


def test_warming_up_is_not_counted() -> None:
    model = networks.ranker()
    distribution = Distribution.of(np.zeros(1, np.float32))
    reference = Reference({"popularity": distribution})
    scorer = WatchedScorer(RankerModel(replace(model.parts, reference=reference)))
    population = scorer._drift._populations["popularity"]

    scorer.score([full_request(model)] * 3)
    warm = population.requests
    scorer.begin()
    scorer.score([full_request(model)] * 2)

    assert (warm, population.requests) == (0, 2)
