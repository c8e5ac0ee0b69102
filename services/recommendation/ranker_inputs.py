"""The columns that the ranker reads, from what sources and catalogue say about the candidates."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import islice

import numpy as np
import numpy.typing as npt

from services.recommendation.slate import Pool
from shared.domain.items import Item
from shared.domain.ranking import Candidates
from shared.domain.user_state import ItemState
from shared.domain.watermark import Watermark

DAY_MS = 86_400_000
RETRIEVER, NEIGHBOURS, FRESH = "retriever", "neighbours", "fresh"

NEW_ITEMS_LIMIT = 100
"""Items whose content goes with one request: each costs both sides some 50 µs; the best of the merge come first."""


def candidate_columns(pool: Pool, time_ms: int) -> Candidates:
    """N candidates as columns. Those of the catalogue are empty when nothing of it could be read."""
    retrieval_scores, retrieval_ranks = _hits(pool, RETRIEVER)
    neighbour_scores, neighbour_ranks = _hits(pool, NEIGHBOURS)
    read = any(state is not None for state in pool.states)
    known = [_known(state, time_ms) for state in pool.states] if read else []
    ages, popularity, trend, creators, categories = zip(*known, strict=True) if known else ((),) * 5
    return Candidates(
        item_ids=pool.item_ids,
        ages_days=np.array(ages, np.float32),
        popularity=np.array(popularity, np.float32),
        trend=np.array(trend, np.float32),
        retrieval_scores=retrieval_scores,
        retrieval_ranks=retrieval_ranks,
        neighbour_scores=neighbour_scores,
        neighbour_ranks=neighbour_ranks,
        creator_ids=creators,
        primary_categories=categories,
    )


def new_item_ids(pool: Pool, data_watermark: str) -> tuple[str, ...]:
    """The candidates whose content the ranker's bundle has not seen.

    Args:
        pool: the candidates, hydrated.
        data_watermark: log position up to which the bundle's training data goes: what was upserted after it is new.
            "" when it is not known: then only what retrieval itself calls fresh is new, because the content of the
            whole pool would cost more than all the rest of the request.
    """
    if data_watermark:
        newer = (state.item_id for state in pool.states if state is not None and _newer(state, data_watermark))
        return tuple(islice(newer, NEW_ITEMS_LIMIT))
    fresh = [hits.rows for hits in pool.sources if hits.source == FRESH]
    return tuple(pool.item_ids[row] for row in fresh[0])[:NEW_ITEMS_LIMIT] if fresh else ()


def contents(states: Iterable[ItemState]) -> dict[str, Item]:
    """The items that are there, by id."""
    return {state.item_id: state.item for state in states if state.item is not None}


def _hits(pool: Pool, source: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """A source's scores and ranks by candidate, 0 where it did not give the candidate: (N,), (N,)."""
    scores, ranks = np.zeros(len(pool), np.float32), np.zeros(len(pool), np.int32)
    for hits in pool.sources:
        if hits.source == source:
            scores[hits.rows] = hits.scores
            ranks[hits.rows] = np.arange(1, len(hits.rows) + 1)
    return scores, ranks


def _known(state: ItemState | None, time_ms: int) -> tuple[float, float, float, str, str]:
    """Age in days, popularity, trend, creator and first category of one candidate."""
    if state is None or state.item is None:
        return (-1.0, state.popularity, state.trend, "", "") if state is not None else (-1.0, 0.0, 0.0, "", "")
    item = state.item
    age_days = max(0.0, (time_ms - item.created_ms) / DAY_MS) if item.created_ms > 0 else -1.0  # as in training
    return age_days, state.popularity, state.trend, item.creator_id, item.categories[0] if item.categories else ""


def _newer(state: ItemState, data_watermark: str) -> bool:
    return bool(state.updated_watermark) and not _covered(data_watermark, state.updated_watermark)


@lru_cache(maxsize=65_536)
def _covered(data_watermark: str, updated_watermark: str) -> bool:
    return Watermark.parse(data_watermark).covers(Watermark.parse(updated_watermark))
