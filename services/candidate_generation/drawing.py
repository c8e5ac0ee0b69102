"""A draw in which every item has the same chance, by the request's seed: the same request gives the same answer.

A request without a seed is drawn for by a hash of profile, latest item and minute. All newcomers share that draw.
"""

from __future__ import annotations

import hashlib

import numpy as np

from services.candidate_generation.query import Query, Slots, SourceAnswer
from shared.domain.retrieval import RetrievalRequest

_MINUTE_MS = 60_000


def drawn(source: str, query: Query, pool: Slots, quota: int) -> SourceAnswer:
    """At most `quota` slots of a pool, other ones for each source; scores fall evenly from 1."""
    name = repr((source, query.request.seed or _moment(query.request))).encode()
    seed = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest())
    slots = np.random.default_rng(seed).permutation(pool)[:quota]
    return SourceAnswer(slots, np.linspace(1, 0, len(slots), endpoint=False, dtype=np.float32))


def _moment(request: RetrievalRequest) -> tuple[object, ...]:
    user_id = request.user.user_id if request.user else ""
    return user_id, request.history.item_ids[-1:], request.time_ms // _MINUTE_MS
