"""The training loop: it stops, keeps the best, resumes to the same end, and says when it diverges."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from services.trainer.checkpoints import CheckpointError, Checkpoints
from services.trainer.fitting import FitReport, FitSettings, TrainingDivergedError, adamw, fit
from services.trainer.progress import silent
from shared.model.transformer import Dropout

SETTINGS = FitSettings(
    "line", seed=3, learning_rate=0.05, max_epochs=6, patience=0, warmup_steps=5, average=0.9, least_steps=1
)


class Line:
    """Learns a line through noise; validation follows a script."""

    def __init__(self, script: tuple[float, ...] = (), spoiled_epoch: int = -1) -> None:
        torch.manual_seed(0)
        self.network: nn.Module = nn.Sequential(nn.Linear(3, 8), Dropout(0.2), nn.LayerNorm(8), nn.Linear(8, 1))
        self.script, self.spoiled_epoch = list(script), spoiled_epoch
        self.epoch = 0

    def batches(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        self.epoch += 1
        for _ in range(4):
            inputs = rng.normal(size=(16, 3)).astype(np.float32)
            noise = np.nan if self.epoch == self.spoiled_epoch else 0.1
            wanted = inputs.sum(axis=1, keepdims=True) + noise * rng.normal(size=(16, 1)).astype(np.float32)
            yield torch.from_numpy(inputs), torch.from_numpy(wanted.astype(np.float32))

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        inputs, wanted = batch
        return nn.functional.mse_loss(self.network(inputs), wanted)

    def validate(self) -> float:
        return self.script.pop(0) if self.script else math.nan


class KilledError(Exception):
    """Stands for the end of the process."""


class KilledLine(Line):
    """Ends in the middle of an epoch."""

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        if self.epoch == 4:
            raise KilledError
        return super().loss(batch)


def weights(task: Line) -> list[list[float]]:
    return [parameter.detach().flatten().tolist() for parameter in task.network.parameters()]


def fitted(task: Line, folder: Path | None = None, settings: FitSettings = SETTINGS) -> FitReport:
    return fit(task, settings, Checkpoints(folder, "run") if folder else None, silent)


def test_a_run_that_was_killed_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, resumed = Line(), Line()
    report = fitted(whole)
    with pytest.raises(KilledError):
        fitted(KilledLine(), tmp_path)

    resumed_report = fitted(resumed, tmp_path)

    assert weights(resumed) == weights(whole)
    assert resumed_report.losses == report.losses
    assert resumed.epoch == 3  # three epochs were done before


def test_a_checkpoint_of_other_data_or_settings_is_not_resumed(tmp_path: Path) -> None:
    fitted(Line(), tmp_path)
    task = Line()

    fit(task, SETTINGS, Checkpoints(tmp_path, "another run"), silent)

    assert task.epoch == SETTINGS.max_epochs


def test_a_damaged_checkpoint_is_named_with_its_remedy(tmp_path: Path) -> None:
    fitted(Line(), tmp_path)
    (tmp_path / "line.safetensors").write_bytes(b"\xff" * 100)

    with pytest.raises(CheckpointError, match=r"line\.safetensors is damaged .* delete it to start again"):
        fitted(Line(), tmp_path)


def test_a_run_that_diverges_says_where_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    good = Line()
    fitted(good, settings=replace(SETTINGS, max_epochs=2))

    with pytest.raises(TrainingDivergedError, match=r"loss is nan in epoch 3, step 9 \(learning rate 0\.05\)"):
        fitted(Line(spoiled_epoch=3), tmp_path)

    kept = Checkpoints(tmp_path, "run").load("line")
    assert kept is not None
    assert kept.facts["epoch"] == 2
    assert kept.tensors["kept.0"].flatten().tolist() == weights(good)[0]


def test_it_stops_after_patience_and_keeps_the_best_epoch() -> None:
    settings = replace(SETTINGS, patience=2)
    best = Line()
    fitted(best, settings=replace(SETTINGS, max_epochs=2))
    task = Line(script=(0.1, 0.3, 0.2, 0.25, 0.9))

    report = fitted(task, settings=settings)

    assert (report.epochs, report.best_epoch, report.best) == (4, 2, 0.3)
    assert weights(task) == weights(best)


def test_an_epoch_of_small_data_goes_over_it_until_it_has_made_enough_steps() -> None:
    task = Line()

    fitted(task, settings=replace(SETTINGS, max_epochs=1, least_steps=9))

    assert task.epoch == 3  # passes of four batches each


def test_what_was_given_is_kept_when_nothing_is_better() -> None:
    given, task = Line(), Line(script=(0.5, 0.4, 0.3))

    report = fitted(task, settings=replace(SETTINGS, patience=2, judge_start=True))

    assert (report.epochs, report.best_epoch, report.best) == (2, 0, 0.5)
    assert weights(task) == weights(given)


def test_every_parameter_is_in_one_group_and_only_matrices_decay() -> None:
    network = Line().network

    groups = adamw(network, 0.1, 0.01).param_groups

    held = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(held) == sorted(id(parameter) for parameter in network.parameters())
    assert {parameter.ndim > 1 for parameter in groups[0]["params"]} == {True}
    assert groups[1]["weight_decay"] == 0
