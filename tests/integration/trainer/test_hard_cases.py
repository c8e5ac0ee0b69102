"""Whole trainings that are too large, too long, or go wrong half-way."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from services.trainer.app import train
from services.trainer.checkpoints import Checkpoints
from services.trainer.datasets import Dataset, DatasetError
from services.trainer.fingerprints import run_fingerprint
from services.trainer.fitting import TrainingDivergedError
from services.trainer.presets import PRESETS, Epochs, TrainingSettings
from services.trainer.progress import silent
from tests.integration.trainer.test_training_worlds import place_in
from tests.unit.trainer.data_worlds import dataset_of, walks

ONCE = replace(
    TrainingSettings(), preset="tiny", epochs=Epochs(sliced=1, continued=1, ranker=1, final=0), final_fit=False
)


def test_a_user_with_a_hundred_thousand_events_is_one_user_among_others(tmp_path: Path) -> None:
    others = [(f"u{user}", f"i{(user + time) % 50}", 1000.0 * time + user) for time in range(8) for user in range(30)]
    one = [("robot", f"i{time % 50}", 0.05 * time) for time in range(100_000)]
    data = dataset_of(others + one)

    report = train(data, ONCE, place_in(tmp_path), silent)

    assert report.publication.published
    assert len(report.test.two_stage.ranks) == 31
    assert report.publication.manifest.trained_events == 100_240 - 2 * 31


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_what_does_not_fit_into_memory_is_refused_before_anything_is_fitted(preset: str, tmp_path: Path) -> None:
    stages: list[str] = []
    place = replace(place_in(tmp_path), memory_bytes=100_000)

    with pytest.raises(DatasetError, match=rf"24 items with preset '{preset}' .* choose a smaller --preset"):
        train(walks(), replace(ONCE, preset=preset), place, lambda stage, done, note: stages.append(stage))

    assert stages == []
    assert place.registry.current() is None


def test_a_training_that_diverges_keeps_what_was_good_and_serves_nothing_new(tmp_path: Path) -> None:
    data, place = walks(), place_in(tmp_path)
    served = train(data, ONCE, place, silent).publication.version
    wild = replace(ONCE, ranker_learning_rate=1e38)

    with pytest.raises(TrainingDivergedError, match=r"ranker diverged: the loss is .* in epoch 1, .* smaller learning"):
        train(data, wild, place, silent)

    kept = Checkpoints(place.work_dir / "checkpoints", run_fingerprint(data, wild)).load("retriever-all")
    assert kept is not None
    assert kept.facts["epoch"] == 1
    assert place.registry.current() == served


def test_a_training_does_not_begin_as_a_bundle_that_has_seen_what_it_is_measured_on(tmp_path: Path) -> None:
    data, place = walks(), place_in(tmp_path)
    report = train(data, replace(ONCE, epochs=replace(ONCE.epochs, final=1), final_fit=True), place, silent)
    served, sibling = report.publication.version, report.publication.evaluation_version
    folder = tmp_path / "copied"
    shutil.copytree(place.registry.fetch(served, tmp_path / "cache"), folder)

    with pytest.raises(DatasetError, match=rf"bundle {served} was trained on events .* name its sibling {sibling}"):
        train(data, replace(ONCE, init_from=str(folder)), place, silent)
    with pytest.raises(DatasetError, match=r"that the time split holds out \(held out of it: leave-one-out\)"):
        train(data, replace(ONCE, init_from=sibling, split="time"), place, silent)

    honest = begun(data, sibling, tmp_path)
    elsewhere = begun(walks(seed=1), str(folder), tmp_path)
    assert honest == elsewhere == (True, True)


def begun(data: Dataset, source: str, folder: Path) -> tuple[bool, bool]:
    """Whether a training began as another bundle, and was published."""
    notes: list[str] = []
    settings = replace(ONCE, init_from=source)
    report = train(data, settings, place_in(folder), lambda stage, done, note: notes.append(stage))
    return "warm start" in notes, report.publication.published
