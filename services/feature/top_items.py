"""The lists of popular and trending items, over all and by category."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.feature.catalogue import Catalogue
from shared.domain.conditions import available
from shared.domain.user_state import TopItems, TopOrder

SPARE_FACTOR = 4
"""How many times the asked items are looked at before all are: some are outside their availability window."""

Rows = npt.NDArray[np.int64]


def top_items(catalogue: Catalogue, order: TopOrder, *, category: str, limit: int, now_ms: int) -> TopItems:
    """Available items with any count, best first; equal ones by id."""
    scores = catalogue.scores(order)
    rows = _touched(catalogue, scores, category)
    found = _best(catalogue, scores, _cut(rows, scores, SPARE_FACTOR * limit), limit, now_ms)
    if len(found) < limit:
        found = _best(catalogue, scores, rows, limit, now_ms)
    return TopItems(tuple(item_id for _, item_id in found), tuple(-negated for negated, _ in found))


def _touched(catalogue: Catalogue, scores: npt.NDArray[np.float64], category: str) -> Rows:
    """Rows with a count: of a category, or all."""
    if not category:
        return np.flatnonzero(scores)
    rows = np.fromiter(catalogue.by_category.get(category, ()), np.int64)
    return rows[scores[rows] > 0]


def _cut(rows: Rows, scores: npt.NDArray[np.float64], size: int) -> Rows:
    """The best `size` rows and all that are equal to the last of them, in no order."""
    if len(rows) <= size:
        return rows
    least = float(np.partition(scores[rows], -size)[-size])
    best: Rows = rows[scores[rows] >= least]
    return best


def _best(
    catalogue: Catalogue, scores: npt.NDArray[np.float64], rows: Rows, limit: int, now_ms: int
) -> list[tuple[float, str]]:
    """(negated score, item id) of available items in order."""
    pairs: list[tuple[float, str]] = []
    for row, score in zip(rows.tolist(), scores[rows].tolist(), strict=True):
        entry = catalogue.by_row[row]
        if entry is not None and entry.item is not None and available(entry.item, now_ms):
            pairs.append((-score, entry.item_id))
    return sorted(pairs)[:limit]
