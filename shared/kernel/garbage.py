"""Python's garbage collector, set for a service.

By itself it looks for cycles after every 700 new objects, and now and then at every object there is. A service makes
thousands of objects for a batch and drops them without a cycle, and its state stays: measured in a replay of the log,
looking for cycles took a fifth of the processor time.
"""

from __future__ import annotations

import gc
from typing import Final

THRESHOLDS: Final = (10_000, 5, 1_000)
"""New objects before the young are looked at; such looks before the middle-aged are, and those before all are.

Every request waits while objects are looked at: the middle-aged are few enough for some milliseconds, and all of them,
a tenth of a second and more in a process with every service in it, have their turn after fifty million new ones. A
cycle that a request leaves behind is found among the young or the middle-aged, unless it was still in use then.
"""


def look_seldom() -> None:
    """From now on collect after more new objects."""
    gc.set_threshold(*THRESHOLDS)


def keep_what_is_there() -> None:
    """Never look at the objects of now again: call it when a service has opened, for what it opened stays."""
    gc.collect()
    gc.freeze()
