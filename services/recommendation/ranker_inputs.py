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
    read = pool.states if any(state is not None for state in pool.states) else ()
    return Candidates(
        item_ids=pool.item_ids,
        ages_days=_column((_age_days(state, time_ms) for state in read), len(read)),
        popularity=_column((state.popularity if state is not None else 0.0 for state in read), len(read)),
        trend=_column((state.trend if state is not None else 0.0 for state in read), len(read)),
        retrieval_scores=retrieval_scores,
        retrieval_ranks=retrieval_ranks,
        neighbour_scores=neighbour_scores,
        neighbour_ranks=neighbour_ranks,
        creator_ids=tuple(_creator(state) for state in read),
        primary_categories=tuple(_primary_category(state) for state in read),
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


def _column(values: Iterable[float], count: int) -> npt.NDArray[np.float32]:
    return np.fromiter(values, np.float32, count)


def _age_days(state: ItemState | None, time_ms: int) -> float:
    if state is None or state.item is None or not state.item.created_ms:
        return -1.0
    return max(0.0, (time_ms - state.item.created_ms) / DAY_MS)


def _creator(state: ItemState | None) -> str:
    return state.item.creator_id if state is not None and state.item is not None else ""


def _primary_category(state: ItemState | None) -> str:
    if state is None or state.item is None or not state.item.categories:
        return ""
    return state.item.categories[0]


def _newer(state: ItemState, data_watermark: str) -> bool:
    return bool(state.updated_watermark) and not _covered(data_watermark, state.updated_watermark)


@lru_cache(maxsize=65_536)
def _covered(data_watermark: str, updated_watermark: str) -> bool:
    return Watermark.parse(data_watermark).covers(Watermark.parse(updated_watermark))
