"""What a training holds for each interaction is a few numbers, and what it computes from them is made in parts."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from services.trainer.fitting import FitSettings, fit
from services.trainer.progress import silent
from services.trainer.sequences import TrainingSequences
from services.trainer.slices import Slice
from services.trainer.splits import leave_one_out
from shared.model import transitions
from shared.model.encoding import ValueScale
from shared.model.transitions import DISTANCE, TransitionCounts
from tests.unit.trainer.data_worlds import random_dataset

BYTES_A_SEQUENCE_EVENT = 8 + 4 + 2 + 2 + 1
"""Its place, its item, two codes, and whether it is a target."""


def test_the_sequences_hold_seventeen_bytes_an_event() -> None:
    train = leave_one_out(random_dataset(np.random.default_rng(0), events=2000)).train
    scale = ValueScale.fit(train.event_types, train.values)

    sequences = TrainingSequences.of(train, scale)

    columns = [getattr(sequences, field.name) for field in fields(sequences)]
    of_events = sum(column.nbytes for column in columns if column is not None and len(column) == len(train))
    assert of_events == BYTES_A_SEQUENCE_EVENT * len(train)


def test_counting_transitions_takes_no_memory_for_most_of_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    items, users, length, keep, together = 3000, 1000, 100, 5, 2000
    rng = np.random.default_rng(1)
    rows, offsets = rng.integers(0, items, users * length), np.arange(0, users * length + 1, length)
    monkeypatch.setattr(transitions, "_EVENTS_TOGETHER", together)

    tracemalloc.start()
    counter = TransitionCounts.of((rows, offsets), items, keep, (0.0, 0.5))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    pair = 16  # a key and a weight
    assert len(counter.counts) <= 2 * keep * items
    events, kept, part = 3 * 8 * len(rows), 2 * 16 * len(counter.counts), 10 * pair * DISTANCE * together
    assert peak < events + kept + part  # all pairs at once would be 16 bytes for each of 20 a event, and their sort
    assert events + kept + part < pair * DISTANCE * len(rows)


class _Counting:
    """A task that notes how far its batches are ahead of the steps."""

    def __init__(self, batches: int) -> None:
        self.network: nn.Module = nn.Linear(2, 1)
        self.planned, self.made, self.stepped, self.ahead = batches, 0, 0, 0

    def batches(self, rng: np.random.Generator) -> Iterator[Tensor]:
        for _ in range(self.planned):
            self.made += 1
            self.ahead = max(self.ahead, self.made - self.stepped)
            yield torch.from_numpy(rng.normal(size=(4, 2)).astype(np.float32))

    def loss(self, batch: Tensor) -> Tensor:
        self.stepped += 1
        return nn.functional.mse_loss(self.network(batch), batch.sum(dim=1, keepdim=True))

    def validate(self) -> float:
        return 0.0


def test_a_batch_is_made_when_it_is_needed() -> None:
    task = _Counting(batches=60)

    fit(task, FitSettings("counting", 0, 0.01, max_epochs=1), None, silent)

    assert (task.stepped, task.ahead) == (60, 1)


@pytest.mark.parametrize(("most", "stepped"), [(7, 7), (1000, 20)])
def test_an_epoch_ends_after_the_steps_that_it_may_make(most: int, stepped: int) -> None:
    task = _Counting(batches=20)
    how = FitSettings("counting", 0, 0.01, max_epochs=1, least_steps=1, most_steps=most)

    fit(task, how, None, silent)

    assert task.stepped == stepped


def test_the_ranker_is_asked_for_no_more_events_than_allowed() -> None:
    cut = Slice(ends=np.array([5, 20]), asked=np.array([5, 7, 12, 18, 19]))

    some = cut.sampled(3, np.random.default_rng(0))

    assert len(some.asked) == 3
    assert np.all(np.diff(some.asked) > 0)
    assert set(some.asked.tolist()) < set(cut.asked.tolist())
    assert cut.sampled(5, np.random.default_rng(0)) is cut
