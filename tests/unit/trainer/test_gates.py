"""Whose order is served: the best on validation, and what is simpler wins a tie."""

from __future__ import annotations

import numpy as np
import pytest

from services.trainer.evaluation import Metrics
from services.trainer.gates import as_good_as, gates, orders_slates_as_well, serve_order
from services.trainer.metrics import discounted_gains
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


@pytest.mark.parametrize(("after", "passed"), [(1, True), (2, True), (3, False), (0, False)])
def test_a_bundle_that_went_on_may_replace_the_served_one_when_it_is_no_worse(after: int, passed: bool) -> None:
    gate = as_good_as(ranked("served", [2] * 4), ranked("successor", [after] * 4))

    assert gate.passed is passed
    assert gate.blocking
    assert "on 4 requests of new events, against served" in gate.detail


@pytest.mark.parametrize(("users", "passed"), [(1, True), (50, False)])
def test_chance_on_a_few_requests_keeps_no_successor_from_replacing_what_it_knows_more_than(
    users: int, passed: bool
) -> None:
    served, successor = [1, 0, 1, 2] * users, [0, 1, 0, 2] * users

    gate = as_good_as(ranked("served", served), ranked("successor", successor))

    assert gate.measured < gate.required
    assert gate.passed is passed


def ranked(name: str, targets: list[int]) -> Metrics:
    """Users whose targets have these ranks; 0 = it is not listed."""
    ranks = np.array(targets, np.int64)
    ndcg = float(discounted_gains(ranks, 10).mean())
    return Metrics(name, "world", 10, {"ndcg@10": ndcg}, {}, {}, 0.0, ranks, np.empty((len(ranks), 10), np.int32))


def test_only_a_ranker_that_clearly_orders_slates_worse_is_kept_aside() -> None:
    before = np.tile([0.5, 0.7], 20)

    worse, alike, better = (orders_slates_as_well(before, before + change, "v1") for change in (-0.2, 0.0, 0.1))

    assert [worse.passed, alike.passed, better.passed] == [False, True, True]
    assert orders_slates_as_well(before, before + np.tile([-0.3, 0.2], 20), "v1").passed, "luck can do that"
    assert worse.blocking
