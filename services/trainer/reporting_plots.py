"""What was measured, as pictures. They need matplotlib, an extra: without it there is a clear word and no picture."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from services.trainer.evaluation import Metrics
from services.trainer.metrics_calibration import Reliability


class PlotsUnavailableError(RuntimeError):
    """matplotlib is not installed."""


def plot_all(folder: Path, measured: Sequence[Metrics], calibration: Mapping[str, Reliability]) -> list[Path]:
    """Every picture of an evaluation as PNG: `accuracy`, `recall` and a `calibration-ACTION` for each action.

    Raises:
        PlotsUnavailableError: matplotlib is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    accuracy, recall = folder / "accuracy.png", folder / "recall.png"
    plot_accuracy(accuracy, measured)
    plot_ranks(recall, measured)
    by_action = {folder / f"calibration-{action}.png": (action, found) for action, found in calibration.items()}
    for path, (action, found) in by_action.items():
        plot_reliability(path, found, action)
    return [accuracy, recall, *by_action]


def plot_accuracy(path: Path, measured: Sequence[Metrics]) -> None:
    """NDCG with its 95 % interval, one bar a recommender and split.

    Raises:
        PlotsUnavailableError: matplotlib is not installed.
    """
    figure, axes = _canvas(height=1.2 + 0.4 * len(measured))
    names = [f"ndcg@{one.k}" for one in measured]
    means = np.array([one.values[name] for one, name in zip(measured, names, strict=True)])
    bounds = np.array([one.intervals[name] for one, name in zip(measured, names, strict=True)])
    axes.barh([f"{one.name}, {one.split}" for one in measured], means, xerr=np.abs(bounds - means[:, None]).T)
    axes.invert_yaxis()
    axes.set_xlabel(f"{names[0]}, 95 % interval")
    _save(figure, path)


def plot_ranks(path: Path, measured: Sequence[Metrics]) -> None:
    """The share of users whose target is within the first n, by n: one line a recommender.

    Raises:
        PlotsUnavailableError: matplotlib is not installed.
    """
    figure, axes = _canvas(height=4)
    for one in measured:
        depths = np.arange(1, max(one.k, int(one.ranks.max(initial=1))) + 1)
        found = np.searchsorted(np.sort(one.ranks[one.ranks > 0]), depths, side="right") / len(one.ranks)
        axes.step(depths, found, where="post", label=f"{one.name}, {one.split}")
    axes.set_xscale("log")
    axes.set_xlabel("n")
    axes.set_ylabel("recall@n")
    axes.legend()
    _save(figure, path)


def plot_reliability(path: Path, measured: Reliability, title: str) -> None:
    """What came true against what was said.

    Raises:
        PlotsUnavailableError: matplotlib is not installed.
    """
    figure, axes = _canvas(height=4)
    axes.plot([0, 1], [0, 1], linestyle="--", color="grey")
    axes.plot(measured.predicted, measured.observed, marker="o")
    axes.set_xlabel("predicted")
    axes.set_ylabel("observed")
    axes.set_title(f"{title}: expected calibration error {measured.error:.4f}")
    _save(figure, path)


def _canvas(height: float) -> tuple[Any, Any]:
    """A figure that belongs to nobody's screen: pyplot and its global state are not used."""
    try:
        figures = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise PlotsUnavailableError("plots need matplotlib: pip install 'winnow[plots]'") from error
    figure = figures.Figure(figsize=(8, height), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=120)
