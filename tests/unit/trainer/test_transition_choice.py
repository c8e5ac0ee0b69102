"""The counter's settings follow the data."""

from __future__ import annotations

import numpy as np
import pytest

from services.trainer.datasets import Dataset
from services.trainer.evaluation import evaluate
from services.trainer.sequences import TrainingSequences
from services.trainer.splits import leave_one_out
from services.trainer.transition_choice import DAMPINGS, TransitionsOnly, Tried, chosen_parameters
from shared.domain.events import EventType
from shared.model.encoding import ValueScale
from shared.model.transitions import TransitionCounts
from tests.unit.trainer.data_worlds import random_dataset, sequences_dataset, walks


def counts_of(data: Dataset, keep: int = 100) -> TransitionCounts:
    train = leave_one_out(data, "validation").train
    scale = ValueScale.fit(np.array([EventType.VIEW]), np.array([np.nan], np.float32))
    sequences = TrainingSequences.of(train, scale)
    return TransitionCounts.of((sequences.item_rows, sequences.offsets), len(data.items), keep, DAMPINGS)


def test_where_the_last_event_says_everything_decay_is_fast() -> None:
    data = walks()

    decay, _ = chosen_parameters(counts_of(data), leave_one_out(data, "validation"))

    assert decay <= 0.6


def test_where_tastes_last_decay_is_slow() -> None:
    # Two tastes, each with letters of its own among letters that everybody has, all in any order.
    rng = np.random.default_rng(1)
    letters = [[*rng.permutation(list("abcdefgh" if n % 2 else "ABCDEFGH"))[:6], *rng.permutation(list("mnopqrst"))[:5]]
               for n in range(400)]  # fmt: skip
    data = sequences_dataset({f"u{n}": "".join(rng.permutation(word)) for n, word in enumerate(letters)})

    decay, _ = chosen_parameters(counts_of(data), leave_one_out(data, "validation"))

    assert decay >= 0.8


@pytest.mark.parametrize("keep", [3, 100])
def test_its_lists_hold_no_item_that_the_user_has_seen(keep: int) -> None:
    data = random_dataset(np.random.default_rng(5))

    measured = evaluate(TransitionsOnly(counts_of(data, keep).table((0.9, 0.5))), leave_one_out(data))

    assert measured.name == "transitions"  # `evaluate` refuses seen and repeated items
    assert np.all(measured.lists >= 0)


def test_a_setting_that_is_given_is_kept_and_the_other_one_chosen() -> None:
    data = walks()

    decay, damping = chosen_parameters(
        counts_of(data), leave_one_out(data, "validation"), Tried.around(decay=0.77, damping=None)
    )

    assert decay == 0.77
    assert damping in DAMPINGS
