"""Whole trainings on small worlds whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.trainer.app import Workplace, measure, train
from services.trainer.datasets import Dataset, DatasetError
from services.trainer.presets import Epochs, TrainingSettings
from services.trainer.progress import silent
from services.trainer.ranking_training import RankingTrainingSettings
from shared.domain.events import EventType
from shared.kernel.clock import system_clock
from shared.model.bundle import open_bundle
from shared.model.reference import Reference
from shared.model.registry import Registry
from tests.unit.trainer.data_worlds import dataset_of, walks

SETTINGS = replace(
    TrainingSettings(), preset="tiny", epochs=Epochs(sliced=3, continued=1, ranker=1, final=1, patience=2)
)


def place_in(folder: Path) -> Workplace:
    return Workplace(Registry(str(folder / "registry")), folder / "work", system_clock)


def ndcg(data: Dataset, place: Workplace, stage: str) -> float:
    return measure(data, stage, "leave-one-out", place).metrics.values["ndcg@10"]


def test_both_stages_learn_where_everybody_goes_next(tmp_path: Path) -> None:
    data, place = walks(), place_in(tmp_path)

    report = train(data, SETTINGS, place, silent)

    assert report.publication.published
    (bundle,) = (tmp_path / "registry" / "bundles").glob(report.publication.version)
    reference = Reference.load(open_bundle(bundle))
    assert reference is not None
    assert {"popularity", "history_length", "retrieval_score", "probability_view"} <= set(reference.distributions)
    popular = ndcg(data, place, "baseline:popularity")
    assert ndcg(data, place, "retrieval") > 1.5 * popular
    assert ndcg(data, place, "two-stage") > 1.5 * popular
    measured = measure(data, "two-stage", "leave-one-out", place)
    assert measured.calibration["view"].error < 0.1
    assert measured.ratings is None  # nobody rated anything


def test_the_rankers_rating_head_is_measured_on_the_last_ratings(tmp_path: Path) -> None:
    data, place = walks(), place_in(tmp_path)
    events = data.interactions
    values = np.where(events.item_rows % 2, 5.0, 1.0).astype(np.float32)
    rated = np.full(len(events), EventType.RATING, np.int8)
    data = replace(data, interactions=replace(events, values=values, event_types=rated))
    eager = replace(SETTINGS, final_fit=False, ranking=RankingTrainingSettings(ratings=1.0), ranker_learning_rate=3e-2)

    train(data, eager, place, silent)
    found = measure(data, "two-stage", "leave-one-out", place).ratings

    assert found is not None
    assert found.ratings == 120
    assert found.rmse < 1.0  # who says the mean each time is off by 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("u", "a", 1.0), ("u", "a", 2.0), ("u", "a", 3.0)], "has 1 items"),
        ([("u", "a", 1.0), ("v", "b", 2.0)], "no user of world has 3 events"),
    ],
    ids=["one item", "short users"],
)
def test_too_little_to_learn_from_is_refused_in_one_sentence(
    rows: list[tuple[str, str, float]], message: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=message):
        train(dataset_of(rows), SETTINGS, place_in(tmp_path), silent)
