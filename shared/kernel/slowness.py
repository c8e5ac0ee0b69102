"""From when on a request counts as slow: it is then logged with its stages, and its trace is kept."""

from __future__ import annotations

_slow_ms: float = 0


def set_slow_ms(milliseconds: float) -> None:
    """Requests that take longer are slow in this process; 0: none is."""
    global _slow_ms  # noqa: PLW0603 - like logs and tracing, one a process
    _slow_ms = milliseconds


def is_slow(milliseconds: float) -> bool:
    """Whether a request that took so long is slow."""
    return 0 < _slow_ms < milliseconds
