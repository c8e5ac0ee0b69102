"""Whose order is served: the best on validation, and what is simpler wins a tie."""

from __future__ import annotations

import numpy as np
import pytest

from services.trainer.evaluation import Metrics
from services.trainer.gates import gates, serve_order
from services.trainer.training import StageMetrics
from shared.model.index import IndexTuning

TUNING = IndexTuning(k=10, target=0.9, recall=0.95, trees=10, search_k=100)


def measured(name: str, ndcg: float) -> Metrics:
    nobody = np.empty((0, 10), np.int32)
    return Metrics(name, "world", 10, {"ndcg@10": ndcg}, {}, {}, 0.0, nobody[:, 0].astype(np.int64), nobody)


def stages(retrieval: float, transitions: float, two_stage: float) -> StageMetrics:
    return StageMetrics(
        measured("retrieval", retrieval), measured("transitions", transitions), measured("two-stage", two_stage)
    )


@pytest.mark.parametrize(
    ("validation", "order"),
    [
        (stages(0.1, 0.2, 0.3), "ranker"),
        (stages(0.3, 0.2, 0.1), "retrieval"),
        (stages(0.2, 0.3, 0.1), "transitions"),
        (stages(0.1, 0.3, 0.2), "transitions"),
        (stages(0.2, 0.2, 0.2), "retrieval"),
        (stages(0.1, 0.2, float("nan")), "transitions"),
    ],
)
def test_the_best_order_on_validation_is_served(validation: StageMetrics, order: str) -> None:
    assert serve_order(validation) == order


def test_a_ranker_that_loses_to_the_counter_says_so_and_blocks_nothing() -> None:
    results = {gate.name: gate for gate in gates(stages(0.1, 0.3, 0.2), TUNING, finite=1.0)}

    assert results["ranker_beats_retrieval"].passed
    assert not results["ranker_beats_transitions"].passed
    assert not results["ranker_beats_transitions"].blocking
    assert "the transition counter's order is served" in results["ranker_beats_transitions"].detail
