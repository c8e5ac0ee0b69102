"""Time as a parameter: what needs the time of day takes a `Clock`, so tests and replays decide what time it is."""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Returns the present as Unix milliseconds."""


def system_clock() -> int:
    """The machine's own time, Unix milliseconds."""
    return time.time_ns() // 1_000_000
