"""Quality against time: points of a curve, when it gets somewhere, and a picture of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from services.trainer.evaluation import Metrics

MEASURE = "ndcg@10"


@dataclass(frozen=True, slots=True)
class Point:
    """A model after an epoch.

    Attributes:
        stage, epoch: of the fit.
        cpu_s, wall_s: that everything up to here took, without what only this benchmark measures.
        metrics: on the test requests.
    """

    stage: str
    epoch: int
    cpu_s: float
    wall_s: float
    metrics: Metrics = field(repr=False)

    @property
    def value(self) -> float:
        """What the curve is of."""
        return self.metrics.values[MEASURE]


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of one training, in time."""

    name: str
    points: tuple[Point, ...]

    @property
    def best(self) -> Point:
        """The best point; the first of equals."""
        return max(self.points, key=lambda point: point.value)

    def reaching(self, value: float) -> Point | None:
        """The first point that is no worse."""
        return next((point for point in self.points if point.value >= value), None)


def plot_curves(path: Path, curves: Sequence[Curve], title: str) -> None:
    """NDCG@10 against CPU seconds, and against wall seconds beside it, as PNG."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    by_cpu, by_wall = figure.subplots(1, 2, sharey=True)
    for curve in curves:
        values = [point.value for point in curve.points]
        by_cpu.plot([point.cpu_s for point in curve.points], values, marker=".", label=curve.name)
        by_wall.plot([point.wall_s for point in curve.points], values, marker=".", label=curve.name)
    for axes, clock in ((by_cpu, "CPU"), (by_wall, "wall")):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(ScalarFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel(f"{clock} seconds of training")
        axes.grid(visible=True, alpha=0.3)
    by_cpu.set_ylabel("NDCG@10 on the test requests")
    by_cpu.legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=110)
