"""Users' vectors kept between requests: while a user does nothing, the vector stays the same.

A vector is found by a digest of the history and the profile that it was made from, so there is nothing to invalidate;
it holds no id and goes a while after it was made, so that what was derived from an erased user's history does not stay.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
from cachetools import TTLCache

from shared.domain.history import History
from shared.domain.items import User

KEPT_VECTORS = 20_000
KEPT_SECONDS = 600.0

Floats = npt.NDArray[np.float32]


class UserVectors:
    """Vectors by history and profile. Not thread-safe.

    Args:
        limit: how many are kept; the longest unused goes first.
        now: seconds on a scale that only grows.
    """

    def __init__(self, limit: int = KEPT_VECTORS, now: Callable[[], float] = time.monotonic) -> None:
        self._kept: TTLCache[bytes, Floats] = TTLCache(limit, KEPT_SECONDS, timer=now)

    def get(self, history: History, user: User | None = None) -> Floats | None:
        """(1, D) the vector of a user, None when it is not here."""
        return self._kept.get(_digest(history, user))

    def keep(self, history: History, vector: Floats, user: User | None = None) -> None:
        """Keep the vector of a user."""
        self._kept[_digest(history, user)] = vector


def _digest(history: History, user: User | None) -> bytes:
    """Of everything that the tower reads of a history and a profile."""
    digest = blake2b("\0".join(history.item_ids).encode(), digest_size=16)
    for column in (history.event_types, history.values, history.times_ms):
        digest.update(np.ascontiguousarray(column).data)
    if user is not None and (user.interest_tags or user.attributes):
        digest.update(repr((user.interest_tags, sorted(user.attributes.items()))).encode())
    return digest.digest()
