"""What makes a list good, as pure functions of ranks and lists.

A rank counts from 1; 0 is a miss. Each function of ranks gives one number a user, so that means, slices and intervals
all come from the same place. S users, I items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.trainer.evaluation_ranking import NO_ITEM

Floats = npt.NDArray[np.float64]


def ranks_of(lists: npt.NDArray[np.int32], targets: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """(S,) the rank of each target in its (S, k) list, 0 where it is not listed."""
    found = lists == targets[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0)


def hits(ranks: npt.NDArray[np.int64], k: int) -> Floats:
    """(S,) 1 where the target is among the first k: their mean is HR@k, which is recall@k when there is one target."""
    return ((ranks > 0) & (ranks <= k)).astype(np.float64)


def discounted_gains(ranks: npt.NDArray[np.int64], k: int) -> Floats:
    """(S,) 1 / log2(rank + 1) within the first k: their mean is NDCG@k with one target."""
    return np.where(hits(ranks, k) > 0, 1 / np.log2(np.maximum(ranks, 1) + 1), 0.0)


def reciprocal_ranks(ranks: npt.NDArray[np.int64], k: int) -> Floats:
    """(S,) 1 / rank within the first k: their mean is MRR@k."""
    return np.where(hits(ranks, k) > 0, 1 / np.maximum(ranks, 1), 0.0)


def coverage(lists: npt.NDArray[np.int32], catalogue: npt.NDArray[np.bool_]) -> float:
    """The share of the catalogue that stands in at least one list."""
    return len(np.unique(lists[lists != NO_ITEM])) / int(catalogue.sum())


def novelty(lists: npt.NDArray[np.int32], events_of_item: npt.NDArray[np.int64]) -> float:
    """Mean self-information of the listed items in bits: -log2 of an item's (add-one smoothed) share of train events.

    Castells, Vargas, Wang: Novelty and Diversity Metrics for Recommender Systems (2011), section 3.1.
    """
    listed = lists[lists != NO_ITEM]
    if not len(listed):
        return 0.0
    share = (events_of_item + 1) / (events_of_item.sum() + len(events_of_item))
    return float(-np.log2(share[listed]).mean())


def popularity_percentile(lists: npt.NDArray[np.int32], events_of_item: npt.NDArray[np.int64]) -> float:
    """Mean percentile (0 to 1) of the listed items in the catalogue by train events; .5 is no bias, 1 the very top."""
    listed = lists[lists != NO_ITEM]
    if not len(listed):
        return 0.0
    ordered = np.sort(events_of_item)
    below = np.searchsorted(ordered, events_of_item, side="left")
    until = np.searchsorted(ordered, events_of_item, side="right")
    percentile = (below + until) / (2 * len(ordered))  # ties share their middle
    return float(percentile[listed].mean())


def exposure_gini(lists: npt.NDArray[np.int32], catalogue: npt.NDArray[np.bool_]) -> float:
    """Gini coefficient of how often each item of the catalogue is listed: 0 all equally, near 1 a few take all."""
    listed = np.bincount(lists[lists != NO_ITEM], minlength=len(catalogue))
    exposure = np.sort(listed[catalogue])
    if not exposure.any():
        return 0.0
    places = np.arange(1, len(exposure) + 1)
    return float(2 * (places * exposure).sum() / (len(exposure) * exposure.sum()) - (len(exposure) + 1) / len(exposure))
