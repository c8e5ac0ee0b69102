"""What was measured, for a person (one table) and for a program (`metrics.json`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from services.trainer.comparison import Difference, differences
from services.trainer.evaluation import Metrics

SCHEMA_VERSION = 1


def metrics_table(measured: Sequence[Metrics], title: str = "") -> Table:
    """One row a recommender and split; accuracy means carry their 95 % interval."""
    table = Table(title=title or None)
    table.add_column("model", no_wrap=True)
    table.add_column("split", no_wrap=True)
    table.add_column("users", justify="right")
    names = list(dict.fromkeys(name for one in measured for name in one.values))
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("seconds", justify="right")
    for one in measured:
        cells = [_cell(one, name) for name in names]
        table.add_row(one.name, one.split, f"{len(one.ranks):,}", *cells, f"{one.seconds:.1f}")
    return table


def slices_table(measured: Sequence[Metrics]) -> Table:
    """NDCG of the parts that hide behind the averages."""
    table = Table(title="Slices", title_justify="left", box=None, pad_edge=False)
    for heading in ("model", "split", "slice"):
        table.add_column(heading, no_wrap=True)
    for heading in ("users", "hr", "ndcg"):
        table.add_column(heading, justify="right")
    for one in measured:
        for name, part in one.slices.items():
            hit_rate, gain = (f"{part.values[f'{metric}@{one.k}']:.4f}" for metric in ("hr", "ndcg"))
            table.add_row(one.name, one.split, name, f"{part.users:,}", hit_rate, gain)
    return table


def differences_table(found: Sequence[Difference]) -> Table:
    """The last recommender against the others."""
    table = Table(title="NDCG against the others", title_justify="left", box=None, pad_edge=False)
    for heading in ("model", "against"):
        table.add_column(heading, no_wrap=True)
    for heading in ("difference", "95 % interval", "relative"):
        table.add_column(heading, justify="right")
    for each in found:
        relative = "–" if each.relative is None else f"{each.relative:+.1%}"
        table.add_row(each.name, each.against, f"{each.mean:+.4f}", f"{each.low:+.4f} to {each.high:+.4f}", relative)
    return table


def as_record(metrics: Metrics) -> dict[str, Any]:
    """One measurement as plain JSON values, without ranks and lists."""
    return {
        "model": metrics.name,
        "split": metrics.split,
        "k": metrics.k,
        "users": len(metrics.ranks),
        "values": metrics.values,
        "intervals_95": {name: list(interval) for name, interval in metrics.intervals.items()},
        "slices": {name: {"users": part.users, "values": part.values} for name, part in metrics.slices.items()},
        "seconds": metrics.seconds,
    }


def write_metrics(path: Path, measured: Sequence[Metrics], context: Mapping[str, Any]) -> None:
    """Write `metrics.json`: the measurements, the last against the others, and what they were made with.

    Args:
        path: of the file.
        measured: at least one.
        context: data set, settings, seeds, calibration: whatever the reader needs beside.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "context": dict(context),
        "metrics": [as_record(each) for each in measured],
        "differences": [asdict(each) for each in differences(measured)],
    }
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _cell(metrics: Metrics, name: str) -> str:
    if name not in metrics.values:
        return "–"
    value = f"{metrics.values[name]:.4f}" if metrics.values[name] < 1 else f"{metrics.values[name]:.2f}"
    if name not in metrics.intervals:
        return value
    low, high = metrics.intervals[name]
    return f"{value} [dim]{low:.4f}–{high:.4f}[/dim]"
