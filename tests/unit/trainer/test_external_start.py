"""The line that the ranker begins with: it finds the feature that tells, and every head begins on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from services.trainer.external_start import LinearStart, linear_start
from tests.unit.model.networks import ranker

Q, C, K = 300, 12, 3


def test_the_feature_that_tells_gets_the_weight_and_noise_gets_none() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(Q, C, K)).astype(np.float16)
    chances = 2 * features[..., 1].astype(np.float32) + rng.gumbel(size=(Q, C))  # the conditional logit's own world

    start = linear_start(np.zeros((Q, C), np.float32), features, np.zeros((Q, C), np.int64), chances.argmax(axis=1))

    assert start.weights[1] == pytest.approx(2, abs=0.3)
    assert np.abs(start.weights[[0, 2]]).max() < 0.3
    assert start.loss < np.log(C)


def test_places_behind_the_end_of_a_list_take_no_part() -> None:
    rng = np.random.default_rng(0)
    features, rows = rng.normal(size=(Q, C, K)).astype(np.float16), np.zeros((Q, C), np.int64)
    outcomes = features[:, : C // 2, 0].argmax(axis=1)
    rows[:, C // 2 :] = -1
    short = linear_start(np.zeros((Q, C // 2), np.float32), features[:, : C // 2], rows[:, : C // 2], outcomes)
    features[:, C // 2 :] = 60  # would win everything

    start = linear_start(np.zeros((Q, C), np.float32), features, rows, outcomes)

    assert start.weights == pytest.approx(short.weights, rel=1e-3)


def test_every_head_begins_on_the_line() -> None:
    network = ranker().parts.network
    line = LinearStart(7.0, np.linspace(-1, 1, network.external.in_features).astype(np.float32), -2.0, 0.0)

    line.put_into(network)

    assert network.scale.tolist() == [7.0, 7.0]
    assert network.user_bias.bias.tolist() == [-2.0, -2.0]
    for head in network.external.weight.detach():
        assert torch.equal(head, torch.from_numpy(line.weights))
