"""What `winnow evaluate` writes and shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.command.output import console, fail, show, table

if TYPE_CHECKING:
    from services.trainer.app import Measured
    from services.trainer.datasets import Dataset
    from services.trainer.evaluation import Metrics

SHOWN = ("hr@10", "ndcg@10", "mrr@10", "recall@100", "recall@300", "coverage@10")


def write_measured(
    dataset: Dataset, measured: Sequence[Measured], *, export: Path | None, output: Path | None, plots: Path | None
) -> None:
    """Write the files that were asked for: the lists of the last stage, `metrics.json`, pictures."""
    from services.trainer.datasets import DatasetError
    from services.trainer.export import write_predictions
    from services.trainer.reporting import write_metrics
    from services.trainer.reporting_plots import PlotsUnavailableError, plot_all

    last, metrics = measured[-1], [each.metrics for each in measured]
    try:
        if export:
            write_predictions(export, dataset, last.split.user_rows, last.metrics.lists)
        if output:
            write_metrics(output, metrics, _context(dataset, measured))
        if plots:
            plot_all(plots, metrics, last.calibration)
    except (DatasetError, PlotsUnavailableError, OSError) as error:
        raise fail(str(error)) from error


def show_measured(dataset: Dataset, measured: Sequence[Measured], as_json: bool) -> None:
    """Print the tables, or JSON."""
    from services.trainer.comparison import differences
    from services.trainer.reporting import as_record, differences_table, slices_table

    metrics = [each.metrics for each in measured]
    found = differences(metrics)
    records = [as_record(each.metrics) | {"bundle": each.version, "note": each.note} for each in measured]
    against = {each.against: asdict(each) for each in found}
    records[-1] |= {"calibration_error": _errors(measured[-1]), "differences": against, **_ratings(measured[-1])}
    tables = [
        table(f"{dataset.name}, {metrics[-1].split}", ["model", *SHOWN, "ndcg, 95 %"], [row_of(m) for m in metrics]),
        slices_table(metrics),
    ]
    show(as_json, records, *tables, *([differences_table(found)] if found else []))
    if as_json:
        return
    for action, error in _errors(measured[-1]).items():
        console.print(f"probability of a {action}: expected calibration error {error:.4f}", highlight=False)
    if rated := measured[-1].ratings:
        console.print(
            f"ratings foretold by the ranker: RMSE {rated.rmse:.4f} ({rated.interval[0]:.4f}–{rated.interval[1]:.4f}), "
            f"MAE {rated.mae:.4f}, {rated.ratings:,} of them",
            highlight=False,
        )
    for note in dict.fromkeys(each.note for each in measured if each.note):
        console.print(f"[dim]{note}[/dim]", highlight=False)


def row_of(metrics: Metrics) -> list[object]:
    """One line of the table of models, the interval of the NDCG last."""
    low, high = metrics.intervals[f"ndcg@{metrics.k}"]
    values = (metrics.values.get(name, float("nan")) for name in SHOWN)
    return [metrics.name, *values, f"{low:.4f}–{high:.4f}"]


def _errors(measured: Measured) -> dict[str, float]:
    return {action: found.error for action, found in measured.calibration.items()}


def _ratings(measured: Measured) -> dict[str, Any]:
    return {"ratings": asdict(measured.ratings)} if measured.ratings else {}


def _context(dataset: Dataset, measured: Sequence[Measured]) -> dict[str, Any]:
    last = measured[-1]
    calibration = {
        action: {"error": found.error, "predicted": found.predicted.tolist(), "observed": found.observed.tolist(),
                 "counts": found.counts.tolist()}
        for action, found in last.calibration.items()
    }  # fmt: skip
    return {
        "data": dataset.name,
        "split": last.split.name,
        "bundles": list(dict.fromkeys(each.version for each in measured if each.version)),
        "notes": [each.note for each in measured],
        "calibration": calibration,
        **_ratings(last),
    }
