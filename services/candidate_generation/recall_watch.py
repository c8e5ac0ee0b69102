"""Measures the index on real requests: now and then an answer of the trees is compared with exact search.

Training measured the recall on users of the past; this tells it for those who ask today, among the items of today. The
comparison is made beside the event loop, one at a time, and no more often than a setting says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import structlog

from services.candidate_generation.telemetry import LIVE_RECALL
from shared.model.index import Floats, Found, recall
from shared.model.live_index import LiveIndex

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Search:
    """A search that was answered.

    Attributes:
        queries: (B, D).
        eligible: (T,) by slot of the index.
    """

    index: LiveIndex
    queries: Floats
    k: int
    eligible: npt.NDArray[np.bool_]
    found: Found

    def recall(self) -> float:
        """Share of the truly nearest k that were found. Blocking."""
        return recall(self.found, self.index.search(self.queries, self.k, self.eligible, exact=True))


class RecallWatch:
    """Is shown every search and measures few.

    Args:
        executor: where exact searches run.
        every_s: shortest time between two; 0: none is made.
        now: seconds on a scale that only grows.
    """

    def __init__(self, executor: Executor, every_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._executor, self._every_s, self._now = executor, every_s, now
        self._due_s = now()
        self._measuring = False

    def consider(self, search: Search) -> None:
        """Measure this one if it is time to, and if the trees had a part in it."""
        if not self._every_s or self._measuring or self._now() < self._due_s:
            return
        if not search.index.by_trees(search.k, search.eligible):
            return
        self._measuring, self._due_s = True, self._now() + self._every_s
        measured = asyncio.get_running_loop().run_in_executor(self._executor, search.recall)
        measured.add_done_callback(self._tell)

    def _tell(self, measured: asyncio.Future[float]) -> None:
        self._measuring = False
        if measured.cancelled():
            return
        if error := measured.exception():
            log.warning("index.recall.unknown", error=repr(error))
            return
        LIVE_RECALL.observe(measured.result())
