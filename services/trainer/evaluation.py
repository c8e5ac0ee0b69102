"""One protocol and one scorer for every model and baseline: full ranking, seen items removed, one target a user.

S scored users, B users of a batch, H history events of a batch, k the length of a list.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from services.trainer import metrics
from services.trainer.datasets_ragged import Ragged
from services.trainer.evaluation_ranking import blocked_items, completed, fault_of
from services.trainer.metrics_intervals import bootstrap_interval
from services.trainer.splits import Split

BATCH_USERS = 1024
_SCORES = 1 << 24  # of users times items that are in memory at once
COLD_HISTORY = 5
_SECONDS_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Requests:
    """A batch of users who ask for a list.

    Attributes:
        user_rows: (B,) int32.
        histories: per user the item rows of the history, oldest first; `offsets` also divide the arrays below.
        event_types: (H,) int8.
        values: (H,) float32, NaN = none.
        event_times_s: (H,) float64.
        request_times_s: (B,) float64, when each asks, see `Split.request_times_s`.
        seen: per user the item rows that may not be listed.
        catalogue: (I,) the items that may be listed.
    """

    user_rows: npt.NDArray[np.int32]
    histories: Ragged
    event_types: npt.NDArray[np.int8]
    values: npt.NDArray[np.float32]
    event_times_s: npt.NDArray[np.float64]
    request_times_s: npt.NDArray[np.float64]
    seen: Ragged
    catalogue: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.user_rows)


class Recommender(Protocol):
    """Anything that makes lists: a baseline, a retriever, the two stages together, the running services."""

    @property
    def name(self) -> str:
        """For tables and files."""

    def recommend(self, requests: Requests, k: int) -> npt.NDArray[np.int32]:
        """(B, k) distinct unseen item rows, best first; -1 where it has no more to say (filled by popularity)."""


@dataclass(frozen=True, slots=True)
class SliceMetrics:
    """The accuracy among some of the users."""

    users: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Metrics:
    """How one recommender did on one split.

    Attributes:
        name, split: what was measured on what.
        k: the length of the lists.
        values: means by name, e.g. `ndcg@10`.
        intervals: 95 % bootstrap intervals of those that are means over users.
        slices: by name of the slice, e.g. `cold users`; empty slices are left out.
        seconds: wall time of making the lists.
        ranks: (S,) rank of each target down to the greatest depth asked for, 0 = miss.
        lists: (S, k) what was listed.
    """

    name: str
    split: str
    k: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    slices: dict[str, SliceMetrics]
    seconds: float
    ranks: npt.NDArray[np.int64] = field(repr=False)
    lists: npt.NDArray[np.int32] = field(repr=False)


def evaluate(
    recommender: Recommender, split: Split, k: int = 10, recall_at: Sequence[int] = (), seed: int = 0
) -> Metrics:
    """Ask for a list for every scored user and measure it; `recall_at` adds recall at greater depths, e.g. (100, 300).

    Raises:
        ValueError: the recommender listed a seen, unknown or repeated item.
    """
    started = time.perf_counter()
    lists = recommend_all(recommender, split, max(k, *recall_at, k))
    seconds = time.perf_counter() - started
    ranks = metrics.ranks_of(lists, split.target_items)
    per_user = _accuracy(ranks, k, recall_at)
    rng = np.random.default_rng(seed)
    return Metrics(
        name=recommender.name,
        split=split.name,
        k=k,
        values={name: float(values.mean()) for name, values in per_user.items()} | _beyond(lists[:, :k], split),
        intervals={name: bootstrap_interval(values, rng) for name, values in per_user.items()},
        slices=_sliced(per_user, split),
        seconds=seconds,
        ranks=ranks,
        lists=lists[:, :k],
    )


def recommend_all(
    recommender: Recommender, split: Split, k: int, progress: Callable[[int], None] = lambda users: None
) -> npt.NDArray[np.int32]:
    """(S, k) a complete list for every scored user.

    Raises:
        ValueError: the recommender listed a seen, unknown or repeated item.
    """
    popularity = events_of_items(split).astype(np.float64)
    parts = []
    for requests in batches(split, max(1, min(BATCH_USERS, _SCORES // len(split.catalogue)))):
        blocked = blocked_items(requests.seen, split.catalogue)
        lists = recommender.recommend(requests, k)
        if fault := fault_of(lists, blocked):
            raise ValueError(f"{recommender.name} listed {fault[1]} for user row {requests.user_rows[fault[0]]}")
        parts.append(completed(lists, blocked, popularity))
        progress(len(requests))
    return np.concatenate(parts)


def batches(split: Split, size: int = BATCH_USERS) -> Iterator[Requests]:
    """The scored users in row order, `size` at a time."""
    events, seen = split.interactions, split.seen_items
    for start in range(0, len(split), size):
        stop = min(start + size, len(split))
        history = split.histories.rows(start, stop)
        yield Requests(
            user_rows=split.user_rows[start:stop],
            histories=Ragged(events.item_rows[history.flat], history.offsets),
            event_types=events.event_types[history.flat],
            values=events.values[history.flat],
            event_times_s=events.times_s[history.flat],
            request_times_s=split.request_times_s[start:stop],
            seen=seen.rows(start, stop),
            catalogue=split.catalogue,
        )


def events_of_items(split: Split) -> npt.NDArray[np.int64]:
    """(I,) train events of each item."""
    return np.bincount(split.train.item_rows, minlength=len(split.catalogue))


def _accuracy(ranks: npt.NDArray[np.int64], k: int, recall_at: Sequence[int]) -> dict[str, metrics.Floats]:
    accuracy = {
        f"hr@{k}": metrics.hits(ranks, k),
        f"ndcg@{k}": metrics.discounted_gains(ranks, k),
        f"mrr@{k}": metrics.reciprocal_ranks(ranks, k),
    }
    return accuracy | {f"recall@{depth}": metrics.hits(ranks, depth) for depth in recall_at}


def _beyond(lists: npt.NDArray[np.int32], split: Split) -> dict[str, float]:
    k, counts = lists.shape[1], events_of_items(split)
    return {
        f"coverage@{k}": metrics.coverage(lists, split.catalogue),
        f"novelty@{k}": metrics.novelty(lists, counts),
        f"popularity@{k}": metrics.popularity_percentile(lists, counts),
        f"gini@{k}": metrics.exposure_gini(lists, split.catalogue),
    }


def _sliced(per_user: dict[str, metrics.Floats], split: Split) -> dict[str, SliceMetrics]:
    return {
        name: SliceMetrics(int(mask.sum()), {metric: float(values[mask].mean()) for metric, values in per_user.items()})
        for name, mask in slices_of(split).items()
        if mask.any()
    }


def slices_of(split: Split) -> dict[str, npt.NDArray[np.bool_]]:
    """(S,) masks of the parts that hide behind an average."""
    target_days = split.interactions.times_s[split.target_events] // _SECONDS_PER_DAY
    same_day = target_days == split.history_ends_s // _SECONDS_PER_DAY
    return {
        "cold users": split.histories.lengths < COLD_HISTORY,
        "cold items": events_of_items(split)[split.target_items] == 0,
        "same day": same_day,
        "later days": ~same_day,
    }
