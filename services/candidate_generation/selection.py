"""The best slots of a score over the whole catalogue."""

from __future__ import annotations

import numpy as np

from services.candidate_generation.query import Floats, Query, SourceAnswer


def best_slots(query: Query, scores: Floats, quota: int) -> SourceAnswer:
    """The eligible items with a positive score, best first; equal scores by popularity, then by slot.

    Args:
        query: says what is eligible.
        scores: (S,) by slot.
        quota: at most this many.
    """
    slots = query.eligible.among(np.flatnonzero(scores > 0))
    if quota < len(slots):  # keep the ties of the last place: popularity decides among them
        floor = np.partition(scores[slots], len(slots) - quota)[len(slots) - quota]
        slots = slots[scores[slots] >= floor]
    order = np.lexsort((slots, -query.catalogue.popularity[slots], -scores[slots]))[:quota]
    return SourceAnswer(slots[order], scores[slots[order]])
