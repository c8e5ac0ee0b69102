"""What one phase's requests came to: latencies in HDR histograms, outcomes and stage times as sums. Adds up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from hdrh.histogram import HdrHistogram

LONGEST_US = 120_000_000
DIGITS = 3
"""A latency is stored with an error below a thousandth."""


def _histogram() -> HdrHistogram:
    return HdrHistogram(1, LONGEST_US, DIGITS)


@dataclass(slots=True)
class Tally:
    """One phase, or one process's part of it. Latencies are microseconds since the request was due.

    Attributes:
        sent: requests.
        latency: of answers with status OK.
        late: how far behind its schedule the generator itself sent.
        codes: errors by gRPC status code or reason.
        degraded: answers with at least one loss.
        reasons: losses by `stage/reason`.
        stage_ms: milliseconds by stage, summed over answers.
        ranked: candidates that were ranked, summed over answers.
        recorded: latency of the events that followed answers.
    """

    sent: int = 0
    latency: HdrHistogram = field(default_factory=_histogram)
    late: HdrHistogram = field(default_factory=_histogram)
    codes: Counter[str] = field(default_factory=Counter)
    degraded: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    stage_ms: Counter[str] = field(default_factory=Counter)
    ranked: int = 0
    recorded: HdrHistogram = field(default_factory=_histogram)

    @property
    def answered(self) -> int:
        """Answers with status OK."""
        return int(self.latency.get_total_count())

    def add(self, other: Tally) -> None:
        """Take in what another process counted."""
        self.sent += other.sent
        self.degraded += other.degraded
        self.ranked += other.ranked
        for mine, theirs in (
            (self.latency, other.latency),
            (self.late, other.late),
            (self.recorded, other.recorded),
        ):
            mine.add(theirs)
        for count, more in (
            (self.codes, other.codes),
            (self.reasons, other.reasons),
            (self.stage_ms, other.stage_ms),
        ):
            count.update(more)

    def __getstate__(self) -> dict[str, object]:
        """As it travels between processes: histograms in their own compressed form."""
        state = {name: getattr(self, name) for name in self.__slots__}
        return {name: value.encode() if isinstance(value, HdrHistogram) else value for name, value in state.items()}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            setattr(self, name, HdrHistogram.decode(value) if isinstance(value, bytes) else value)


def record_us(histogram: HdrHistogram, microseconds: float) -> None:
    """Note one time; what is outside the range counts as its end."""
    histogram.record_value(min(max(1, int(microseconds)), LONGEST_US))


def percentile_ms(histogram: HdrHistogram, percentile: float) -> float | None:
    """A percentile in milliseconds; None where nothing was recorded."""
    if not histogram.get_total_count():
        return None
    return float(histogram.get_value_at_percentile(percentile)) / 1e3
