"""What a bundle has to show before it is served."""

from __future__ import annotations

import numpy as np

from services.trainer.training import StageMetrics
from shared.model.index import IndexTuning
from shared.model.manifest import GateResult


def gates(validation: StageMetrics, tuning: IndexTuning, finite: float) -> tuple[GateResult, ...]:
    """All gates.

    Args:
        validation: of both stages; the test is for reports, choices are made here.
        tuning: of the index.
        finite: share of the weights and vectors that are finite numbers.
    """
    return (_index_recall(tuning), _finite(finite), _ranker_beats_retrieval(validation))


def serve_order(results: tuple[GateResult, ...]) -> str:
    """`ranker`, or `retrieval` when the ranker did not improve on the retriever's own order."""
    beats = {gate.name: gate.passed for gate in results}
    return "ranker" if beats["ranker_beats_retrieval"] else "retrieval"


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


def _ranker_beats_retrieval(validation: StageMetrics) -> GateResult:
    retrieval, two_stage = (float(stage.values["ndcg@10"]) for stage in (validation.retrieval, validation.two_stage))
    passed = bool(np.isfinite(two_stage) and two_stage > retrieval)
    order = "the ranker's order is served" if passed else "the retriever's own order is served"
    return GateResult(
        name="ranker_beats_retrieval",
        passed=passed,
        measured=two_stage,
        required=retrieval,
        detail=f"NDCG@10 on the validation requests; {order}",
        blocking=False,
    )
