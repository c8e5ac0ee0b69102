"""What a front answered during the last minutes: how much, how fast, and how much of it lost quality."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from shared.domain.provenance import Degradation

WINDOW_MS: Final = 300_000
REMEMBERED: Final = 20_000
"""Answers; under much load the window is shorter."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """The answers of a window.

    Attributes:
        window_seconds: its length.
        p50_ms, p99_ms: percentiles of the time of an answer; 0 without any.
        degraded_share: share of the answers that lost something, 0 to 1.
        losses: (stage, reason, answers that lost it), the commonest first.
    """

    window_seconds: float = 0.0
    answers_per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    degraded_share: float = 0.0
    losses: tuple[tuple[str, str, int], ...] = ()


@dataclass(slots=True)
class Tally:
    """`Recommend` calls answered since the start, those of them with a degradation, and the latest in detail.

    Attributes:
        started_ms: when the counting began, Unix milliseconds.
    """

    started_ms: int = 0
    answered: int = 0
    degraded: int = 0
    _latest: deque[tuple[int, float, tuple[tuple[str, str], ...]]] = field(
        default_factory=lambda: deque(maxlen=REMEMBERED)
    )

    def count(self, now_ms: int, duration_ms: float, degraded: Iterable[Degradation]) -> None:
        """Add one answer."""
        lost = tuple((each.stage, each.reason) for each in degraded)
        self.answered += 1
        self.degraded += bool(lost)
        self._latest.append((now_ms, duration_ms, lost))

    def traffic(self, now_ms: int) -> Traffic:
        """The window that ends now."""
        full = len(self._latest) == REMEMBERED
        while self._latest and self._latest[0][0] < now_ms - WINDOW_MS:
            self._latest.popleft()
        begin_ms = self._latest[0][0] if full and self._latest else max(self.started_ms, now_ms - WINDOW_MS)
        seconds = max(1, now_ms - begin_ms) / 1000
        if not self._latest:
            return Traffic(window_seconds=seconds)
        durations = np.array([duration for _, duration, _ in self._latest])
        losses = Counter(loss for _, _, lost in self._latest for loss in lost)
        return Traffic(
            window_seconds=seconds,
            answers_per_second=len(durations) / seconds,
            p50_ms=float(np.percentile(durations, 50)),
            p99_ms=float(np.percentile(durations, 99)),
            degraded_share=sum(bool(lost) for _, _, lost in self._latest) / len(durations),
            losses=tuple((stage, reason, count) for (stage, reason), count in losses.most_common()),
        )
