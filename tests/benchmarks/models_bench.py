"""Winnow's models beside RecTools' and the baselines on one split: quality, and how long it takes to get there.

usage: python -m tests.benchmarks.models_bench [--data ml-100k] [--rectools sasrec --rectools ligr] [--cap 900]
                                               [--seed 0] [--output build/models] [--only own|rectools|baselines]

Leave-one-out, everybody is asked, all items are ranked, seen ones removed, one scorer for all. Nothing is learned from
validation and test events; the validation event is part of the history that is asked with. One thread. CPU seconds
hold the encoding of texts and, for Winnow and the baselines, validation; no measuring on the test.
Needs `make setup-peers`. Beauty is `--data FOLDER`; there RecTools takes some twenty minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from services.command.places import data_dir
from services.trainer.app import divided
from services.trainer.baselines.registry import BASELINES, fit_baseline
from services.trainer.content_stage import with_content
from services.trainer.datasets import Dataset, DatasetError
from services.trainer.datasets_opening import DataSource, open_dataset
from services.trainer.evaluation import Metrics, evaluate
from services.trainer.preprocessing import CleaningOptions, clean
from services.trainer.presets import TrainingSettings
from shared.model.content_opening import content_with, open_frozen_text_encoder
from tests.benchmarks.curves import Curve, Point, plot_curves
from tests.benchmarks.own_curve import Stopwatch, own_curve
from tests.benchmarks.rectools_rival import Asked, rectools_curve

PARTS = ("own", "rectools", "baselines")
SHOWN = ("hr@10", "ndcg@10", "mrr@10", "coverage@10")


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ml-100k", help="`ml-100k`, a folder or a file")
    parser.add_argument("--rectools", action="append", choices=("sasrec", "ligr"), help="default: sasrec")
    parser.add_argument("--cap", type=float, default=900, help="CPU seconds that RecTools may take")
    parser.add_argument("--baseline", action="append", choices=sorted(BASELINES), help="default: all")
    parser.add_argument("--only", action="append", choices=PARTS, help="default: all three")
    parser.add_argument("--preset", default="small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("build/models"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console, parts = Console(width=150), arguments.only or PARTS
    source = DataSource(arguments.data, cache=data_dir().absolute() / "cache")
    dataset, _ = clean(open_dataset(source).dataset, CleaningOptions())
    arguments.output.mkdir(parents=True, exist_ok=True)
    curves = []
    if "own" in parts:
        curves.append(_own(dataset, TrainingSettings(preset=arguments.preset, seed=arguments.seed), console))
    if "rectools" in parts:
        test = divided(dataset, "leave-one-out", "test")
        asked = (Asked.of(each, test, arguments.cap, arguments.seed) for each in arguments.rectools or ["sasrec"])
        curves += [rectools_curve(each, test) for each in asked]
    rows = [(curve.name, curve.best.metrics, curve.best.cpu_s) for curve in curves]
    if "baselines" in parts:
        rows += _baselines(dataset, arguments.baseline or list(BASELINES), console)
    console.print(_table(dataset.name, rows), f"load {os.getloadavg()[0]:.1f}")
    if curves:
        console.print(*(_curve_table(curve) for curve in curves), _race_table(curves))
        plot_curves(arguments.output / f"quality-{dataset.name}.png", curves, f"{dataset.name}, leave-one-out")
    (arguments.output / f"quality-{dataset.name}.json").write_text(json.dumps(_record(curves, rows), indent=2) + "\n")


def _own(dataset: Dataset, settings: TrainingSettings, console: Console) -> Curve:
    """The whole training, the encoding of texts and images first."""

    def told(stage: str, share: float, message: str) -> None:
        if "validation" in message:
            console.print(f"[dim]{stage} {share:.0%} {message}[/dim]", highlight=False)

    watch, vectors = Stopwatch(), content_with(open_frozen_text_encoder())
    try:
        described, content = with_content(dataset, vectors, told)
    finally:
        vectors.close()
    console.print(f"content vectors {dict(content.items)} after {watch.read()[0]:.1f} CPU s", highlight=False)
    curve, trained = own_curve("Winnow", described, settings, watch, told)
    console.print(f"the published order: NDCG@10 {trained.test.two_stage.values['ndcg@10']:.4f} by both stages")
    return curve


def _baselines(dataset: Dataset, names: Sequence[str], console: Console) -> Iterator[tuple[str, Metrics, float]]:
    test, validation = (divided(dataset, "leave-one-out", stage) for stage in ("test", "validation"))
    for name in names:
        begun = time.process_time()
        try:
            fitted = fit_baseline(name, test, validation)
        except DatasetError as error:
            console.print(f"{name}: {error}")
            continue
        took = time.process_time() - begun
        metrics = evaluate(fitted.recommender, test)
        yield name, replace(metrics, name=f"{name} {fitted.setting}"), took
        console.print(f"[dim]{name}: NDCG@10 {metrics.values['ndcg@10']:.4f}, {took:.0f} CPU s[/dim]", highlight=False)


def _table(data: str, rows: Sequence[tuple[str, Metrics, float]]) -> Table:
    table = Table("model", *SHOWN, "NDCG, 95 %", "CPU s", title=f"{data}, leave-one-out", box=box.MARKDOWN)
    for name, metrics, cpu_s in rows:
        low, high = metrics.intervals["ndcg@10"]
        values = (f"{metrics.values[each]:.4f}" for each in SHOWN)
        table.add_row(name, *values, f"{low:.4f} to {high:.4f}", f"{cpu_s:.0f}")
    return table


def _curve_table(curve: Curve) -> Table:
    table = Table("stage", "epoch", "CPU s", "wall s", "NDCG@10", "HR@10", title=curve.name, box=box.MARKDOWN)
    for point in curve.points:
        table.add_row(point.stage, str(point.epoch), f"{point.cpu_s:.0f}", f"{point.wall_s:.0f}",
                      f"{point.value:.4f}", f"{point.metrics.values['hr@10']:.4f}")  # fmt: skip
    return table


def _race_table(curves: Sequence[Curve]) -> Table:
    """When each gets where each other is at its best."""
    table = Table("the best of", "NDCG@10", *(f"{curve.name}: CPU s, wall s" for curve in curves), box=box.MARKDOWN)
    for goal in curves:
        reached = [curve.reaching(goal.best.value) for curve in curves]
        table.add_row(goal.name, f"{goal.best.value:.4f}", *map(_when, reached))
    return table


def _when(point: Point | None) -> str:
    return "never" if point is None else f"{point.cpu_s:.0f}, {point.wall_s:.0f}"


def _record(curves: Sequence[Curve], rows: Sequence[tuple[str, Metrics, float]]) -> dict[str, object]:
    return {
        "curves": {
            curve.name: [
                {"stage": each.stage, "epoch": each.epoch, "cpu_s": each.cpu_s, "wall_s": each.wall_s,
                 **each.metrics.values} for each in curve.points
            ] for curve in curves
        },
        "models": [{"model": name, "cpu_s": cpu_s, **metrics.values} for name, metrics, cpu_s in rows],
    }  # fmt: skip


if __name__ == "__main__":
    main()
