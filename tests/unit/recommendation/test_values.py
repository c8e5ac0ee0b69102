"""From probabilities to values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.recommendation.stages import Lost
from services.recommendation.values import check_answer, retrieval_scores, weighted_scores
from shared.domain.ranking import RankingResult, ScoreParts
from tests.unit.recommendation.columns import candidates_of


def result_of(probabilities: list[list[float]]) -> RankingResult:
    """An answer about click, like and hide."""
    matrix = np.array(probabilities, np.float32)
    return RankingResult((3, 4, 12)[: matrix.shape[1]], matrix, np.empty(0, np.float32), None, "bundle")


def test_a_value_is_the_weighted_sum_of_the_probabilities() -> None:
    scores = weighted_scores(result_of([[0.5, 0.25], [1.0, 0.0]]), (2.0, -4.0))

    assert scores.values.tolist() == [0.0, 2.0]


def test_a_value_that_is_not_finite_sinks_below_every_other() -> None:
    scores = weighted_scores(result_of([[0.5, 0.5], [np.nan, 0.1], [0.1, 0.9], [np.inf, 0.1]]), (1.0, -2.0))

    assert scores.sunk.tolist() == [False, True, False, True]
    assert np.isfinite(scores.values).all()
    assert scores.values[scores.sunk].max() < scores.values[~scores.sunk].min()


def test_what_the_ranker_gave_is_kept_as_it_was() -> None:
    result = result_of([[0.5, np.nan], [0.5, 0.5]])

    assert weighted_scores(result, (1.0, 1.0)).probabilities is result.probabilities


def test_an_answer_with_nothing_finite_is_lost() -> None:
    with pytest.raises(Lost, match="non-finite-scores"):
        weighted_scores(result_of([[np.nan, 0.1]]), (1.0, 1.0))


def test_an_answer_of_which_no_action_has_a_weight_is_lost() -> None:
    with pytest.raises(Lost, match="no-weights"):
        weighted_scores(result_of([[0.1, 0.1]]), (0.0, 0.0))


def test_retrievals_order_is_the_retrievers_and_behind_it_the_merge() -> None:
    scores = retrieval_scores(candidates_of(5, ranks=[0, 2, 0, 1, 3]))

    assert np.argsort(-scores.values).tolist() == [3, 1, 4, 0, 2]
    assert scores.values.max() == 1.0


def test_retrievals_order_by_the_rankers_wish_keeps_its_probabilities_with_weights_of_nothing() -> None:
    result = result_of([[0.5, 0.5], [0.1, 0.1]])

    scores = retrieval_scores(candidates_of(2), result)

    assert scores.weights == (0.0, 0.0)
    assert scores.probabilities is result.probabilities
    assert scores.values.tolist() == [1.0, 0.5]


def test_the_neighbours_order_is_kept_where_the_rankers_gate_asks_for_it() -> None:
    result = replace(result_of([[0.5, 0.5], [0.1, 0.1], [0.2, 0.2]]), keep_neighbour_order=True)
    candidates = replace(candidates_of(3, ranks=[1, 2, 3]), neighbour_ranks=np.array([0, 2, 1], np.int32))

    scores = retrieval_scores(candidates, result)

    assert np.argsort(-scores.values).tolist() == [2, 1, 0]


def test_parts_that_do_not_fit_the_probabilities_are_no_answer() -> None:
    parts = ScoreParts(("a",), np.zeros((1, 2, 1), np.float32), np.ones(2, np.float32), np.zeros(2, np.float32))

    with pytest.raises(Lost, match="parts"):
        check_answer(replace(result_of([[0.1, 0.1], [0.1, 0.1]]), parts=parts), 2)
