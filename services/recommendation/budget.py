"""A deadline is a budget: every outbound call spends part of what is left of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

Ticks = Callable[[], float]
"""Monotonic seconds; tests pass their own."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The time in which the caller wants its answer.

    Attributes:
        ends_s: the moment of `ticks` at which the answer must be on its way.
    """

    ends_s: float
    ticks: Ticks = time.monotonic

    @classmethod
    def of(cls, milliseconds: float, ticks: Ticks = time.monotonic) -> Budget:
        """A budget that begins now."""
        return cls(ticks() + milliseconds / 1e3, ticks)

    @property
    def remaining_ms(self) -> float:
        """What is left, never below 0."""
        return max(0.0, (self.ends_s - self.ticks()) * 1e3)

    def share_ms(self, fraction: float) -> float:
        """A part of what is left."""
        return self.remaining_ms * fraction
