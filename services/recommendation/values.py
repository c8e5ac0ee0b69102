"""From the ranker's probabilities to one value a candidate: predict many actions, combine late.

Dimensions: N candidates, A actions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.recommendation.slate import Mask, Scores
from services.recommendation.stages import Lost
from shared.domain.ranking import Candidates, RankingResult


def weighted_scores(result: RankingResult, weights: tuple[float, ...]) -> Scores:
    """Values = probabilities · weights. Candidates without finite scores sink behind all others.

    Args:
        result: checked, of at least one candidate.
        weights: (A,) of the surface.

    Raises:
        Lost: nothing in the answer is finite or has a weight.
    """
    finite: Mask = np.asarray(np.isfinite(result.probabilities).all(axis=1))  # (N,)
    if not finite.any():
        raise Lost("non-finite-scores", "the ranker gave no finite score")
    if not any(weights):
        raise Lost("no-weights", "the surface gives no weight to any action that the ranker knows")
    return Scores(
        values=_values(result.probabilities, weights, finite),
        sunk=~finite,
        actions=result.actions,
        weights=weights,
        probabilities=result.probabilities,
        ratings=result.ratings,
        parts=result.parts,
        model_version=result.model_version,
    )


def retrieval_scores(candidates: Candidates, result: RankingResult | None = None) -> Scores:
    """Retrieval's own order: one source's candidates by rank, then the others as merged; value = 1 / (1 + place).

    The source is the retriever, or the neighbours where the ranker's gate found their order best.

    Args:
        candidates: in merge order.
        result: the ranker's answer when its gate says to keep this order: recorded with weights of 0.
    """
    count = len(candidates)
    by_neighbours = result is not None and result.keep_neighbour_order
    ranks = candidates.neighbour_ranks if by_neighbours else candidates.retrieval_ranks
    ranks = ranks if len(ranks) else np.zeros(count, np.int32)
    order = np.lexsort((np.arange(count), np.where(ranks > 0, ranks, np.iinfo(np.int32).max)))  # (N,)
    values = np.empty(count, np.float64)
    values[order] = 1.0 / np.arange(1, count + 1)
    nothing = np.zeros(count, np.bool_)
    if result is None:
        return Scores(values, nothing)
    weights = (0.0,) * len(result.actions)
    return Scores(values, nothing, result.actions, weights, result.probabilities, model_version=result.model_version)


def check_answer(result: RankingResult, count: int) -> None:
    """Refuse an answer whose columns do not fit the question.

    Raises:
        Lost: with what does not fit.
    """
    shape = (count, len(result.actions))
    if result.probabilities.shape != shape:
        raise Lost("invalid-answer", f"the ranker gave {result.probabilities.shape} probabilities for {shape}")
    if len(result.ratings) not in {0, count}:
        raise Lost("invalid-answer", f"the ranker gave {len(result.ratings)} ratings for {count} candidates")
    if result.parts is not None and result.parts.values.shape != (*shape, len(result.parts.names)):
        raise Lost("invalid-answer", f"the ranker gave {result.parts.values.shape} parts for {shape}")


def _values(
    probabilities: npt.NDArray[np.float32], weights: tuple[float, ...], finite: Mask
) -> npt.NDArray[np.float64]:
    known = np.where(finite[:, None], probabilities, 0).astype(np.float64)  # (N, A)
    values: npt.NDArray[np.float64] = known @ np.array(weights)  # (N,)
    values[~finite] = min(0.0, float(values[finite].min(initial=0.0))) - 1.0
    return values
