"""Whether today's requests look like those of the training."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import REGISTRY

from services.ranking.drift import Drift
from shared.domain.events import EventType
from shared.domain.ranking import RankingResult

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
