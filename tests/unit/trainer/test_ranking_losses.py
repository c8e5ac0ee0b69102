"""What the ranker's losses compare: several outcomes of a list, none, and what counts how much."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
import torch

from services.trainer.ranking_losses import Happened, Labels, ranking_losses, sampled

ROWS = np.array([[[5, 6, 7, 8, -1]]])  # one history with one request of four candidates


def labels(outcomes: list[int], actions: list[int], weights: list[float] | None = None) -> Labels:
    happened = Happened(np.arange(5)[None, None], np.array([[outcomes]]), np.array([[actions]]))
    counts = (np.array([[4]]), np.array([[4]]))
    return Labels.of(happened, 2, counts, None if weights is None else np.array([[weights]], np.float32))


def test_what_was_done_in_several_ways_is_an_outcome_of_each() -> None:
    found = labels([1, 1, 3, -1], [0, 1, 1, -1])

    assert found.wanted[0, 0].tolist() == [[0, 0], [1, 1], [0, 0], [0, 1], [0, 0]]


def test_equal_logits_lose_the_logarithm_of_the_number_of_candidates() -> None:
    listwise, pointwise = ranking_losses(torch.zeros(1, 1, 5, 2), labels([1, 3], [0, 1]), ROWS)

    assert float(listwise) == pytest.approx(log(4))
    assert float(pointwise) == pytest.approx(8 * log(2))


def test_a_list_of_which_nothing_was_taken_teaches_only_the_level() -> None:
    listwise, pointwise = ranking_losses(torch.zeros(1, 1, 5, 2), labels([-1], [-1]), ROWS)

    assert float(listwise) == 0
    assert float(pointwise) == pytest.approx(8 * log(2))


def test_an_outcome_that_counts_more_pulls_more() -> None:
    weights = [1.0, 4.0, 1.0, 1.0, 0.0]

    listwise, pointwise = ranking_losses(torch.zeros(1, 1, 5, 2), labels([1], [0], weights), ROWS)

    assert float(listwise) == pytest.approx(4 * log(4))
    assert float(pointwise) == pytest.approx((3 + 4) * 2 * log(2))


def test_no_request_and_no_candidate_have_no_gradient() -> None:
    logits = torch.zeros(1, 2, 5, 2, requires_grad=True)
    rows = np.concatenate([ROWS, np.full((1, 1, 5), -1)], axis=1)
    one = labels([1], [0])
    both = Labels(*(np.concatenate([column, column], axis=1) for column in (one.wanted, one.stands_for, one.weights)))

    listwise, pointwise = ranking_losses(logits, both, rows)
    (listwise + pointwise).backward()

    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    assert (logits.grad[0, 1] == 0).all()
    assert (logits.grad[0, 0, 4] == 0).all()


def test_outcomes_come_first_in_every_sample_and_the_rest_stands_for_all() -> None:
    rng = np.random.default_rng(0)
    rows = np.arange(40)[None]

    for _ in range(50):
        chosen = sampled(rows, np.array([[7, 31, -1]]), 8, rng)
        assert set(chosen[0, :2].tolist()) == {7, 31}
        assert len(set(chosen[0].tolist())) == 8

    happened = Happened(chosen[:, None], np.array([[[7, 31, -1]]]), np.array([[[0, 0, -1]]]))
    stands_for = Labels.of(happened, 1, (np.array([[40]]), np.array([[8]])), None).stands_for
    assert stands_for[0, 0].tolist() == pytest.approx([1, 1, *[38 / 6] * 6])
