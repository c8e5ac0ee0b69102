"""Items that the events never mention: no negatives, no ids."""

from __future__ import annotations

import numpy as np
import torch

from services.trainer.negatives import Shares, sample_negatives
from services.trainer.unseen_items import hide_ids, unseen_rows


def test_unseen_are_the_items_of_no_event() -> None:
    assert unseen_rows(np.array([0, 2, 2]), 5).tolist() == [1, 3, 4]


def test_what_is_learned_of_unseen_ids_is_set_to_zero_and_nothing_else() -> None:
    table = torch.nn.Embedding(3, 2)
    before = table.weight.detach().clone()

    hide_ids(np.array([1]), table)

    assert table.weight[1].tolist() == [0, 0]
    torch.testing.assert_close(table.weight[[0, 2]].detach(), before[[0, 2]])


def test_an_item_that_nobody_had_is_never_a_negative() -> None:
    item_rows = np.array([0, 0, 3, 5])
    shares = Shares.of(item_rows, np.ones(4, np.bool_), 8)

    negatives = sample_negatives(item_rows, shares, 1_000, np.random.default_rng(0))

    assert set(negatives.rows.tolist()) == {0, 3, 5}


def test_the_sample_corrects_its_own_bias_over_the_items_that_occur() -> None:
    item_rows = np.array([0, 0, 0, 3])
    shares = Shares.of(item_rows, np.ones(4, np.bool_), 8)

    negatives = sample_negatives(item_rows, shares, 4_000, np.random.default_rng(0))

    drawn = np.bincount(negatives.rows, minlength=8)[[0, 3]]
    expected = np.exp([negatives.log_expected[negatives.rows == row][0] for row in (0, 3)])
    np.testing.assert_allclose(drawn, expected, rtol=0.1)
