"""The lists of popular and trending items, over all and by category.

A list is read on from the place where a page ended, by count and id: counts that change between two pages move single
items, and nobody has to keep the list.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.feature.catalogue import Catalogue
from shared.domain.conditions import available
from shared.domain.user_state import TopItems, TopOrder

SPARE_FACTOR = 4
"""How many times the asked items are looked at before all are: some are outside their availability window."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TopPlace:
    """Where a page of a list ended: the count of its last item, and its id."""

    score: float
    item_id: str

    def __str__(self) -> str:
        return f"{self.score.hex()} {self.item_id}"

    @classmethod
    def parse(cls, text: str) -> TopPlace:
        """What `str` gave."""
        score, _, item_id = text.partition(" ")
        return cls(float.fromhex(score), item_id)


@dataclass(frozen=True, slots=True)
class TopWish:
    """Which list, how much of it, at which moment, and behind which place; None: from its top."""

    order: TopOrder
    category: str
    limit: int
    now_ms: int
    after: TopPlace | None = None


def top_items(catalogue: Catalogue, wish: TopWish) -> TopItems:
    """Available items with any count, best first; equal ones by id."""
    scores = catalogue.scores(wish.order)
    rows = _touched(catalogue, scores, wish.category)
    if wish.after is not None:
        rows = _behind(catalogue, rows, scores, wish.after)
    found = _best(catalogue, scores, _cut(rows, scores, SPARE_FACTOR * wish.limit), wish)
    if len(found) < wish.limit:
        found = _best(catalogue, scores, rows, wish)
    return TopItems(tuple(item_id for _, item_id in found), tuple(-negated for negated, _ in found))


def _touched(catalogue: Catalogue, scores: npt.NDArray[np.float64], category: str) -> Rows:
    """Rows with a count: of a category, or all."""
    if not category:
        return np.flatnonzero(scores)
    rows = np.fromiter(catalogue.by_category.get(category, ()), np.int64)
    return rows[scores[rows] > 0]


def _behind(catalogue: Catalogue, rows: Rows, scores: npt.NDArray[np.float64], place: TopPlace) -> Rows:
    """The rows that stand behind a place of the list."""
    tied = rows[scores[rows] == place.score].tolist()
    later = [row for row in tied if (entry := catalogue.by_row[row]) is not None and entry.item_id > place.item_id]
    return np.concatenate((rows[scores[rows] < place.score], np.array(later, np.int64)))


def _cut(rows: Rows, scores: npt.NDArray[np.float64], size: int) -> Rows:
    """The best `size` rows and all that are equal to the last of them, in no order."""
    if len(rows) <= size:
        return rows
    least = float(np.partition(scores[rows], -size)[-size])
    best: Rows = rows[scores[rows] >= least]
    return best


def _best(catalogue: Catalogue, scores: npt.NDArray[np.float64], rows: Rows, wish: TopWish) -> list[tuple[float, str]]:
    """(negated score, item id) of available items in order; what cannot get into the list is not looked at."""
    pairs: list[tuple[float, str]] = []
    least = np.inf
    ordered = rows[np.argsort(-scores[rows], kind="stable")]
    for row, score in zip(ordered.tolist(), scores[ordered].tolist(), strict=True):
        if score < least and len(pairs) >= wish.limit:
            break
        entry = catalogue.by_row[row]
        if entry is not None and entry.item is not None and available(entry.item, wish.now_ms):
            pairs.append((-score, entry.item_id))
            least = score
    return sorted(pairs)[: wish.limit]
