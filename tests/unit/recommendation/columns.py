"""Small columns to test single components with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.recommendation.slate import Scores
from shared.domain.ranking import Candidates


def candidates_of(
    count: int, creators: Sequence[str] = (), categories: Sequence[str] = (), ranks: Sequence[int] = ()
) -> Candidates:
    """Candidates `item-0` … with nothing known of them but what is given."""
    zeros, no_ranks = np.zeros(count, np.float32), np.zeros(count, np.int32)
    return Candidates(
        tuple(f"item-{row}" for row in range(count)),
        zeros,
        zeros,
        zeros,
        zeros,
        np.array(ranks, np.int32) if ranks else no_ranks,
        zeros,
        no_ranks,
        creator_ids=tuple(creators) or ("",) * count,
        primary_categories=tuple(categories) or ("",) * count,
    )


def scores_of(values: Sequence[float], sunk: Sequence[int] = ()) -> Scores:
    """Scores of these values."""
    mask = np.zeros(len(values), np.bool_)
    mask[list(sunk)] = True
    return Scores(np.array(values, np.float64), mask)
