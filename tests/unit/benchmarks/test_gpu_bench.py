"""The benchmark of the network alone, on a processor and in small."""

from __future__ import annotations

import pytest
import torch

from tests.benchmarks.gpu_bench import TINY, Shape, made_up_batch, made_up_network, measured


def test_a_user_of_the_full_shape_costs_eight_gigaflops() -> None:
    assert Shape().flops == pytest.approx(8.05e9, rel=0.001)


def test_each_user_of_a_batch_gets_a_logit_for_each_candidate_and_action() -> None:
    forward = made_up_network(TINY, torch.device("cpu"))

    with torch.inference_mode():
        logits = forward(made_up_batch(TINY, 3))

    assert logits.shape == (3, TINY.candidates, TINY.actions)
    assert logits.isfinite().all()


def test_each_batch_size_is_measured_without_copies_and_with_them() -> None:
    rows = measured(TINY, torch.device("cpu"), batches=(1, 2), seconds=0.01)

    assert [row.users for row in rows] == [1, 2]
    assert all(row.rate > 0 and row.rate_with_copies > 0 for row in rows)
