"""Ranked lists into one: reciprocal rank fusion (Cormack et al. 2009), for scores that share no scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.candidate_generation.query import NOTHING, Slots, SourceAnswer

_RANK_OFFSET = 60


def fused(lists: Sequence[Slots], quota: int) -> SourceAnswer:
    """At most `quota` slots by the sum of 1 / (60 + rank) over the lists that hold them; equal sums by slot."""
    if not lists:
        return NOTHING
    votes = np.concatenate([1 / (_RANK_OFFSET + 1 + np.arange(len(slots))) for slots in lists])
    slots, places = np.unique(np.concatenate(lists), return_inverse=True)
    scores = np.bincount(places, votes, minlength=len(slots)).astype(np.float32)
    order = np.lexsort((slots, -scores))[:quota]
    return SourceAnswer(slots[order], scores[order])
