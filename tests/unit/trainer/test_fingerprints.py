"""A training resumes its own checkpoints only, and an evaluation knows its own data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from services.trainer.datasets import Dataset
from services.trainer.fingerprints import data_fingerprint, run_fingerprint
from services.trainer.preprocessing import CleaningOptions, clean
from services.trainer.presets import TrainingSettings
from shared.domain.items import ContentVector, Item
from tests.unit.trainer.data_worlds import dataset_of


def described(*values: float) -> Dataset:
    vector = ContentVector("image", "theirs", "", np.array(values, np.float32))
    return dataset_of([("u", "a", 1.0)], [Item("a", vectors=(vector,))])


def test_data_are_the_same_with_and_without_their_repeated_events() -> None:
    data = dataset_of([("u", "a", 1.0), ("u", "a", 1.0), ("u", "b", 2.0)])

    cleaned, _ = clean(data, CleaningOptions())

    assert len(cleaned.interactions) == 2
    assert data_fingerprint(cleaned) == data_fingerprint(data)


def test_one_event_more_makes_other_data() -> None:
    assert data_fingerprint(dataset_of([("u", "a", 1.0)])) != data_fingerprint(
        dataset_of([("u", "a", 1.0), ("u", "a", 2.0)])
    )


def test_another_vector_of_an_item_makes_another_run() -> None:
    settings = TrainingSettings()

    assert run_fingerprint(described(1, 2), settings) == run_fingerprint(described(1, 2), settings)
    assert run_fingerprint(described(1, 2), settings) != run_fingerprint(described(1, 3), settings)
    assert run_fingerprint(described(1, 2), settings) != run_fingerprint(described(1, 2), replace(settings, seed=1))
