"""From scores to lists: k distinct unseen items a user, always, whatever the scores are.

Non-finite scores sink out of the list, equal scores stand by item row, and what is left open is filled by popularity.
B users, I items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.trainer.datasets_ragged import Ragged

NO_ITEM = -1
"""In a list: a place that is left open."""


def blocked_items(seen: Ragged, catalogue: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(B, I) what may not be listed: seen items and items outside the catalogue."""
    blocked = np.repeat(~catalogue[None, :], len(seen), axis=0)
    blocked[seen.row_of_each(), seen.flat] = True
    return blocked


def top_items(scores: npt.NDArray[np.floating], blocked: npt.NDArray[np.bool_], k: int) -> npt.NDArray[np.int32]:
    """(B, k) the best items of (B, I) scores, best first; `NO_ITEM` where too few are finite and not blocked."""
    users, items = scores.shape
    depth = min(k, items)
    masked = np.where(blocked | ~np.isfinite(scores), -np.inf, scores)
    border = np.partition(masked, items - depth, axis=1)[:, items - depth, None]  # (B, 1) the k-th best score
    chosen = masked > border
    ties = masked == border
    room = depth - chosen.sum(axis=1)
    crowded = np.flatnonzero(ties.sum(axis=1) > room)
    ties[crowded] &= np.cumsum(ties[crowded], axis=1, dtype=np.int32) <= room[crowded, None]
    chosen |= ties
    rows = np.nonzero(chosen)[1].reshape(users, depth)  # ascending, so a stable sort keeps ties by item row
    best = np.take_along_axis(masked, rows, axis=1)
    order = np.argsort(-best, axis=1, kind="stable")
    lists = np.full((users, k), NO_ITEM, dtype=np.int32)
    ordered = np.take_along_axis(rows, order, axis=1)
    lists[:, :depth] = np.where(np.isfinite(np.take_along_axis(best, order, axis=1)), ordered, NO_ITEM)
    return lists


def completed(
    lists: npt.NDArray[np.int32], blocked: npt.NDArray[np.bool_], popularity: npt.NDArray[np.floating]
) -> npt.NDArray[np.int32]:
    """Close the gaps of (B, k) lists and fill their ends with the most popular items neither blocked nor listed.

    Places stay open only where the catalogue has no more unseen items.
    """
    gaps = np.flatnonzero((lists == NO_ITEM).any(axis=1))
    if not len(gaps):
        return lists
    packed = np.take_along_axis(lists[gaps], np.argsort(lists[gaps] == NO_ITEM, axis=1, kind="stable"), axis=1)
    taken = blocked[gaps]
    users, places = np.nonzero(packed != NO_ITEM)
    taken[users, packed[users, places]] = True
    fill = top_items(np.broadcast_to(popularity, taken.shape), taken, lists.shape[1])
    filled = (packed != NO_ITEM).sum(axis=1, keepdims=True)
    source = np.arange(lists.shape[1]) - filled  # the n-th open place takes the n-th of the fill
    result = lists.copy()
    result[gaps] = np.where(source < 0, packed, np.take_along_axis(fill, np.maximum(source, 0), axis=1))
    return result


def fault_of(lists: npt.NDArray[np.int32], blocked: npt.NDArray[np.bool_]) -> tuple[int, str] | None:
    """The first row (of B) that lists a blocked, unknown or repeated item, with what is wrong."""
    listed = lists != NO_ITEM
    unknown = (lists < NO_ITEM) | (lists >= blocked.shape[1])
    barred = np.take_along_axis(blocked, np.where(listed & ~unknown, lists, 0), axis=1) & listed & ~unknown
    ordered = np.sort(lists, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NO_ITEM)
    for problem, where in (
        ("an item row that does not exist", unknown),
        ("an item that the user has seen or that is outside the catalogue", barred),
        ("an item twice", repeated),
    ):
        rows = np.flatnonzero(where.any(axis=1))
        if len(rows):
            return int(rows[0]), problem
    return None
