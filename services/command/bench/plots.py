"""A load as pictures: latency over time, and each phase's latencies by percentile. They need matplotlib, an extra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from services.command.bench.arrivals import Phase
from services.command.bench.caller import Answered
from services.command.bench.tally import Tally, percentile_ms

DEPTHS = (0, 1, 2, 3)
"""Decimal places behind the nines that the percentile plot goes to: 0 is the median's side, 3 is 99.9 %."""


def plot_load(folder: Path, phases: Sequence[Phase], answered: Answered) -> list[Path]:
    """Write `timeline.png` and `percentiles.png`.

    Raises:
        ImportError: matplotlib is not installed.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "timeline.png", folder / "percentiles.png"]
    _plot_timeline(paths[0], phases, answered)
    _plot_percentiles(paths[1], phases[-len(answered.tallies) :], answered.tallies)
    return paths


def _plot_timeline(path: Path, phases: Sequence[Phase], answered: Answered) -> None:
    figure, axes = _canvas()
    seconds = answered.due_s.astype(int)
    there = np.unique(seconds)
    for percentile in (50, 99):
        values = [np.percentile(answered.latency_ms[seconds == second], percentile) for second in there]
        axes.plot(there, values, label=f"p{percentile}")
    begin = 0.0
    for phase in phases:
        axes.axvline(begin, color="0.8", zorder=0)
        axes.annotate(f"{phase.rate:g}/s", (begin, 1), xycoords=("data", "axes fraction"), va="top")
        begin += phase.seconds
    axes.set_xlabel("second in which the request was due")
    _finish(figure, axes, path)


def _plot_percentiles(path: Path, phases: Sequence[Phase], tallies: Sequence[Tally]) -> None:
    figure, axes = _canvas()
    nines = np.linspace(0, DEPTHS[-1], 100)  # n nines: the share of requests that are slower is 10 to the -n
    for phase, tally in zip(phases, tallies, strict=True):
        if tally.answered:
            values = [percentile_ms(tally.latency, 100 * (1 - 10.0**-each)) or 0.0 for each in nines]
            axes.plot(nines, values, label=f"{phase.rate:g}/s")
    axes.set_xticks(DEPTHS, [f"{100 * (1 - 10.0**-depth):g} %" for depth in DEPTHS])
    axes.set_xlabel("share of the requests that were answered within")
    _finish(figure, axes, path)


def _canvas() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    return figure, figure.subplots()


def _finish(figure: Any, axes: Any, path: Path) -> None:
    axes.set_yscale("log")
    axes.set_ylabel("latency, ms, from when it was due")
    axes.legend()
    figure.savefig(path, dpi=150)
