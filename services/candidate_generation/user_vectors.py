"""Users' vectors kept between requests: while a user does nothing, the vector stays the same.

A vector is found by a digest of the history that it was made from, so there is nothing to invalidate; it holds no id
and goes a while after it was made, so that what was derived from an erased user's history does not stay.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
from cachetools import TTLCache

from shared.domain.history import History

KEPT_VECTORS = 20_000
KEPT_SECONDS = 600.0

Floats = npt.NDArray[np.float32]


class UserVectors:
    """Vectors by history. Not thread-safe.

    Args:
        limit: how many are kept; the longest unused goes first.
        now: seconds on a scale that only grows.
    """

    def __init__(self, limit: int = KEPT_VECTORS, now: Callable[[], float] = time.monotonic) -> None:
        self._kept: TTLCache[bytes, Floats] = TTLCache(limit, KEPT_SECONDS, timer=now)

    def get(self, history: History) -> Floats | None:
        """(1, D) the vector of a history, None when it is not here."""
        return self._kept.get(_digest(history))

    def keep(self, history: History, vector: Floats) -> None:
        """Keep the vector of a history."""
        self._kept[_digest(history)] = vector


def _digest(history: History) -> bytes:
    """Of everything that the tower reads of a history."""
    digest = blake2b("\0".join(history.item_ids).encode(), digest_size=16)
    for column in (history.event_types, history.values, history.times_ms):
        digest.update(np.ascontiguousarray(column).data)
    return digest.digest()
