"""A draw in which every item has the same chance.

From a hash of profile, latest item and minute, so that the same request gives the same answer. Users without a profile
and with the same latest item (all newcomers) share the draw of a minute.
"""

from __future__ import annotations

import hashlib

import numpy as np

from services.candidate_generation.query import Query, Slots, SourceAnswer

_MINUTE_MS = 60_000


def drawn(source: str, query: Query, pool: Slots, quota: int) -> SourceAnswer:
    """At most `quota` slots of a pool, other ones for each source; scores fall evenly from 1."""
    user = query.request.user.user_id if query.request.user else ""
    last = query.request.history.item_ids[-1:]
    name = repr((source, user, last, query.request.time_ms // _MINUTE_MS)).encode()
    seed = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())
    slots = np.random.default_rng(seed).permutation(pool)[:quota]
    return SourceAnswer(slots, np.linspace(1, 0, len(slots), endpoint=False, dtype=np.float32))
