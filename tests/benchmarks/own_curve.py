"""Our own training, epoch by epoch: weights are put aside as it goes, and measured on the test when it has ended.

Validation after each epoch is part of the training (it stops it) and counted; putting weights aside and measuring them
on the test is not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from services.trainer.checkpoints import Checkpoint, Checkpoints
from services.trainer.datasets import Dataset
from services.trainer.evaluation import Metrics, evaluate
from services.trainer.presets import TrainingSettings
from services.trainer.progress import Progress
from services.trainer.retrieval_stage import Encoded, Run
from services.trainer.splits import Split
from services.trainer.training import TrainedModels, divided, train_models
from services.trainer.two_stage import RetrievalOnly, TwoStage
from services.trainer.unseen_items import hide_ids, unseen_rows
from shared.model.ranker import RankerModel
from shared.model.retriever import new_network
from tests.benchmarks.curves import Curve, Point

_AVERAGE = "average."


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The weights that validation judged after an epoch, by number, and when that was."""

    stage: str
    epoch: int
    cpu_s: float
    wall_s: float
    weights: tuple[Tensor, ...] = field(repr=False)


@dataclass(slots=True)
class Stopwatch:
    """CPU and wall seconds of this process since `begun`, without those that were put aside."""

    cpu_begun: float = field(default_factory=time.process_time)
    wall_begun: float = field(default_factory=time.perf_counter)

    def read(self) -> tuple[float, float]:
        """Both."""
        return time.process_time() - self.cpu_begun, time.perf_counter() - self.wall_begun

    def set_back(self, to: tuple[float, float]) -> None:
        """Forget what passed since a reading."""
        cpu, wall = self.read()
        self.cpu_begun += cpu - to[0]
        self.wall_begun += wall - to[1]


@dataclass(frozen=True)
class Snapshots(Checkpoints):
    """Keeps in memory what a training would write as checkpoints."""

    watch: Stopwatch = field(default_factory=Stopwatch)
    taken: list[Snapshot] = field(default_factory=list)

    def save(self, stage: str, checkpoint: Checkpoint) -> None:
        """Put the weights aside."""
        reading = self.watch.read()
        self.taken.append(Snapshot(stage, checkpoint.facts["epoch"], *reading, _averages(checkpoint.tensors)))
        self.watch.set_back(reading)

    def load(self, stage: str) -> None:
        """Nothing is resumed."""
        del stage


def own_curve(
    name: str, dataset: Dataset, settings: TrainingSettings, watch: Stopwatch, progress: Progress
) -> tuple[Curve, TrainedModels]:
    """Train as `winnow train` does, but for the fit with the test events, and measure all on the way.

    Args:
        name: of the curve.
        dataset: with its content vectors.
        settings: of the training.
        watch: runs since before they were encoded.
        progress: is told.
    """
    snapshots = Snapshots(Path(), "", watch)
    trained = train_models(dataset, Run(replace(settings, final_fit=False), progress, snapshots))
    validation, test = divided(dataset, settings)
    data = Encoded.of(dataset, validation, settings)
    points = [
        Point(each.stage, each.epoch, each.cpu_s, each.wall_s, _measured(each, data, test, trained, settings))
        for each in snapshots.taken
    ]
    return Curve(name, tuple(points)), trained


def _measured(
    snapshot: Snapshot, data: Encoded, test: Split, trained: TrainedModels, settings: TrainingSettings
) -> Metrics:
    if snapshot.stage == "ranker":
        return evaluate(_with_ranker(snapshot.weights, trained.measured, data), test)
    network = new_network(settings.shape, data.encoding, len(data.dataset.items))
    _put(snapshot.weights, network)
    return evaluate(RetrievalOnly(data.retriever(network.eval()), data.profiles), test)


def _with_ranker(weights: tuple[Tensor, ...], models: TwoStage, data: Encoded) -> TwoStage:
    """The two stages with other weights in the ranker's network, which they share: the last ones stay in it."""
    network = models.ranker.parts.network
    _put(weights, network)
    hide_ids(
        unseen_rows(data.train.item_rows, len(data.dataset.items)),
        network.tower.ids, network.item_bias, network.rating.item_bias,
    )  # fmt: skip
    return replace(models, ranker=RankerModel(replace(models.ranker.parts, network=network.eval())))


def _averages(tensors: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    count = sum(name.startswith(_AVERAGE) for name in tensors)
    return tuple(tensors[f"{_AVERAGE}{number}"].detach().clone() for number in range(count))


def _put(weights: tuple[Tensor, ...], network: nn.Module) -> None:
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    with torch.no_grad():
        for parameter, value in zip(trainable, weights, strict=True):
            parameter.copy_(value)
