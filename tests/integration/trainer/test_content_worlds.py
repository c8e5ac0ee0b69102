"""A whole training on a world where nothing but the vectors of one modality tells what an item is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from services.trainer.app import train
from services.trainer.datasets import Dataset
from services.trainer.presets import Epochs, TrainingSettings
from services.trainer.progress import silent
from services.trainer.retrieval_training import RetrievalTrainingSettings
from tests.integration.trainer.test_training_worlds import place_in
from tests.unit.trainer.data_worlds import told_by_vectors

SETTINGS = replace(
    TrainingSettings(),
    preset="tiny",
    epochs=Epochs(sliced=8, continued=2, ranker=1, patience=3),
    retrieval=replace(RetrievalTrainingSettings(), batch_tokens=128),
    final_fit=False,
)


def found_by_retrieval(data: Dataset, folder: Path) -> float:
    """Share of the items that no training saw which were listed among the first ten for who took them next."""
    return train(data, SETTINGS, place_in(folder), silent).test.retrieval.slices["cold items"].values["hr@10"]


def test_items_that_nobody_had_are_found_by_their_vectors_of_any_modality(tmp_path: Path) -> None:
    told = found_by_retrieval(told_by_vectors("scent"), tmp_path / "told")
    untold = found_by_retrieval(told_by_vectors(), tmp_path / "untold")

    assert told > 0.15  # who knows the kind and nothing else hits one of the 32 that are left in 0.31 of the cases
    assert untold < 0.1  # who does not know it, one of 152 in 0.07
