"""What a load came to: rows for people and records for scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.command.bench.arrivals import Phase
from services.command.bench.tally import Tally, percentile_ms

PERCENTILES = (50, 90, 99, 99.9)
COLUMNS = (
    "asked/s", "answered/s", *(f"p{percentile:g} ms" for percentile in PERCENTILES), "max ms", "errors", "degraded",
    "ranked", "sent late p99 ms",
)  # fmt: skip


def record_of(phase: Phase, tally: Tally) -> dict[str, Any]:
    """One phase, for scripts."""
    answered = tally.answered
    return {
        "rate": phase.rate,
        "seconds": phase.seconds,
        "sent": tally.sent,
        "answered": answered,
        "latency_ms": _percentiles(tally) | {"max": percentile_ms(tally.latency, 100)},
        "errors": dict(tally.codes),
        "degraded": tally.degraded,
        "degraded_reasons": dict(tally.reasons),
        "ranked_mean": tally.ranked / answered if answered else None,
        "stage_mean_ms": {name: spent / answered for name, spent in tally.stage_ms.items()} if answered else {},
        "generator_late_p99_ms": percentile_ms(tally.late, 99),
        "events_recorded": int(tally.recorded.get_total_count()),
        "record_p99_ms": percentile_ms(tally.recorded, 99),
    }


def rows(records: Sequence[Mapping[str, Any]]) -> list[list[object]]:
    """One line a phase, for people."""
    return [
        [
            f"{each['rate']:g}",
            f"{each['answered'] / each['seconds']:.1f}",
            *(_number(value, 1) for value in each["latency_ms"].values()),
            sum(each["errors"].values()),
            f"{each['degraded'] / max(1, each['answered']):.1%}",
            _number(each["ranked_mean"], 0),
            _number(each["generator_late_p99_ms"], 1),
        ]
        for each in records
    ]


def stage_rows(records: Sequence[Mapping[str, Any]]) -> list[list[object]]:
    """One line a stage: its mean milliseconds in each phase."""
    names = dict.fromkeys(name for each in records for name in each["stage_mean_ms"])
    return [[name, *(f"{each['stage_mean_ms'].get(name, 0):.2f}" for each in records)] for name in names]


def loss_rows(records: Sequence[Mapping[str, Any]]) -> list[list[object]]:
    """One line an error or loss: how often it was seen in each phase."""
    lines: list[list[object]] = []
    for kind in ("errors", "degraded_reasons"):
        names = dict.fromkeys(name for each in records for name in each[kind])
        lines += [[name, *(each[kind].get(name, 0) for each in records)] for name in names]
    return lines


def _percentiles(tally: Tally) -> dict[str, float | None]:
    return {f"p{percentile:g}": percentile_ms(tally.latency, percentile) for percentile in PERCENTILES}


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
