"""How far a replay of the log is, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogReplay:
    """A projection on its way to where the log's head was when it was first seen.

    Attributes:
        done: records that are behind it.
        total: records of the whole way.
        per_second: records a second in the last moments; 0 while it is not known.
    """

    done: int
    total: int
    per_second: float = 0.0

    @property
    def left_ms(self) -> int | None:
        """Time that the rest takes at this rate; None while it is not known."""
        return round(1000 * (self.total - self.done) / self.per_second) if self.per_second > 0 else None

    def __str__(self) -> str:
        text = f"replaying the log: {self.done:,} of {self.total:,} records"
        left_ms = self.left_ms
        return text if left_ms is None else f"{text}, {self.per_second:,.0f} a second, {_in_words(left_ms)} left"


def _in_words(time_ms: int) -> str:
    seconds = round(time_ms / 1000)
    if seconds < 100:
        return f"{seconds} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"
