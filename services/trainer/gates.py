"""What a bundle has to show before it is served."""

from __future__ import annotations

import numpy as np

from services.trainer.comparison import differences
from services.trainer.evaluation import Metrics
from services.trainer.metrics_intervals import bootstrap_difference
from services.trainer.slate_gains import Gains
from services.trainer.training import StageMetrics
from shared.model.index import IndexTuning
from shared.model.manifest import GateResult, ServeOrder

_ORDERS: dict[ServeOrder, str] = {
    "ranker": "the ranker's order",
    "retrieval": "the retriever's own order",
    "transitions": "the transition counter's order",
}


def gates(validation: StageMetrics, tuning: IndexTuning, finite: float) -> tuple[GateResult, ...]:
    """All gates.

    Args:
        validation: of both stages; the test is for reports, choices are made here.
        tuning: of the index.
        finite: share of the weights and vectors that are finite numbers.
    """
    beaten = (("retrieval", validation.retrieval), ("transitions", validation.transitions))
    order = _ORDERS[serve_order(validation)]
    return (
        _index_recall(tuning),
        _finite(finite),
        *(_ranker_beats(name, stage, validation.two_stage, order) for name, stage in beaten),
    )


def as_good_as(before: Metrics, after: Metrics) -> GateResult:
    """A bundle that goes on from another one may replace it when it is not clearly worse on events new to both.

    Of two that cannot be told apart the successor is taken: it knows what came since. Few requests tell little, and the
    better figure of two would be a matter of chance.

    Args:
        before: the bundle that is served, on the test requests.
        after: its successor on the same.
    """
    required, measured = _quality(before), _quality(after)
    (difference,) = differences([before, after])
    return GateResult(
        name="as_good_as_before",
        passed=measured >= required or difference.high >= 0,
        measured=measured,
        required=required,
        detail=f"NDCG@10 on {len(after.ranks):,} requests of new events, against {before.name}; "
        f"95 % of the difference: {difference.low:+.4f} to {difference.high:+.4f}, fails when all of it is below 0",
    )


def orders_slates_as_well(before: Gains, after: Gains, version: str) -> GateResult:
    """A ranker may replace another one when it does not clearly order slates worse that are new to both.

    Args:
        before: (L,) NDCG of the bundle that is served, by slate.
        after: (L,) of its successor.
        version: of the bundle that is served.
    """
    low, high = bootstrap_difference(after, before, np.random.default_rng(0))
    return GateResult(
        name="orders_slates_as_well",
        passed=high >= 0,
        measured=float(after.mean()),
        required=float(before.mean()),
        detail=f"NDCG of the order of {len(after):,} later slates, against {version}; "
        f"95 % of the difference: {low:+.4f} to {high:+.4f}, fails when all of it is below 0",
    )


def serve_order(validation: StageMetrics) -> ServeOrder:
    """Whose order is best on validation; what is simpler wins a tie."""
    orders: dict[ServeOrder, float] = {
        "retrieval": _quality(validation.retrieval),
        "transitions": _quality(validation.transitions),
        "ranker": _quality(validation.two_stage),
    }
    return max(orders, key=lambda order: orders[order])


def _index_recall(tuning: IndexTuning) -> GateResult:
    passed = tuning.recall >= tuning.target
    return GateResult(
        name="index_recall",
        passed=passed,
        measured=tuning.recall,
        required=tuning.target,
        detail=f"of the {tuning.k} nearest items with {tuning.trees} trees and search_k {tuning.search_k}",
    )


def _finite(share: float) -> GateResult:
    return GateResult(
        name="finite_weights", passed=share == 1, measured=share, required=1.0, detail="weights and item vectors"
    )


def _ranker_beats(name: str, single: Metrics, two_stage: Metrics, order: str) -> GateResult:
    required, measured = _quality(single), _quality(two_stage)
    return GateResult(
        name=f"ranker_beats_{name}",
        passed=measured > required,
        measured=measured,
        required=required,
        detail=f"NDCG@10 on the validation requests; {order} is served",
        blocking=False,
    )


def _quality(stage: Metrics) -> float:
    """NDCG@10; what is no number loses against everything."""
    value = float(stage.values["ndcg@10"])
    return value if np.isfinite(value) else -1.0
