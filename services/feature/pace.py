"""How many records a second are applied, over the last moments."""

from __future__ import annotations

from collections import deque

WINDOW_MS = 10_000
SAMPLE_MS = 100
"""Samples closer than this are one."""


class Pace:
    """The rate of a counter that only grows."""

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque()  # (when, counter), oldest first

    def note(self, now_ms: int, counter: int) -> None:
        """The counter stands here now."""
        samples = self._samples
        if len(samples) > 1 and now_ms - samples[-2][0] < SAMPLE_MS:
            samples.pop()
        samples.append((now_ms, counter))
        while len(samples) > 2 and now_ms - samples[1][0] >= WINDOW_MS:
            samples.popleft()

    def per_second(self) -> float:
        """Growth of the counter a second; 0.0 before two moments are known."""
        if not self._samples:
            return 0.0
        (first_ms, first), (last_ms, last) = self._samples[0], self._samples[-1]
        return 1000 * (last - first) / (last_ms - first_ms) if last_ms > first_ms else 0.0
