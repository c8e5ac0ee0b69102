"""From a user's facts to the state that is answered.

Everything here is a pure function of the facts, the catalogue and the moment, so it is computed when it is read and
kept until one of them changes.

The category affinities are read through the catalogue of now: an event about an unknown item starts to count when the
item arrives, and a corrected category corrects the past.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from services.feature.store import StoredEvent, StoredSlate
from services.feature.user_entry import UserEntry
from shared.domain.history import History, value_column
from shared.domain.user_state import UserState

AFFINITY_EVENTS = 200
"""The latest events that affinities are made of."""
AFFINITY_HALF_LIFE_MS = 30 * 86_400_000
SERVED_LIMIT = 500
"""Served items in an answer."""
NEVER = 1 << 62

CategoriesOf = Callable[[str], tuple[str, ...]]
"""The categories of an item by its id; none for an unknown one."""


@dataclass(frozen=True, slots=True)
class Categories:
    """The categories of items, and a number that grows when those of an item change about which there are events."""

    of: CategoriesOf
    version: int


@dataclass(frozen=True, slots=True)
class UserView:
    """A state and what it was made of.

    Attributes:
        expired_before_ms: slates before this moment were left out.
        oldest_served_ms: the oldest slate that was not.
    """

    state: UserState
    version: int
    categories_version: int
    history_limit: int
    expired_before_ms: int
    oldest_served_ms: int

    def holds(self, entry: UserEntry, categories_version: int, history_limit: int, expired_before_ms: int) -> bool:
        """Whether the state is still what would be made now."""
        return (
            self.version == entry.version
            and self.history_limit == history_limit
            and self.categories_version == categories_version
            and self.expired_before_ms <= expired_before_ms <= self.oldest_served_ms
        )


def history_of(events: Sequence[StoredEvent]) -> History:
    """Events in columns."""
    if not events:
        return History.empty()
    times, _, item_ids, types, values, event_ids = zip(*events, strict=True)
    return History(item_ids, np.array(types, np.int32), value_column(values), np.array(times, np.int64), event_ids)


def served_of(slates: Sequence[StoredSlate], expired_before_ms: int) -> tuple[tuple[str, ...], int]:
    """Items served since that moment, latest first, each once; and the time of the oldest slate among them."""
    served: dict[str, None] = {}
    oldest_ms = NEVER
    for slate in reversed(slates):
        if slate.served_ms < expired_before_ms or len(served) >= SERVED_LIMIT:
            break
        served.update(dict.fromkeys(slate.item_ids))
        oldest_ms = slate.served_ms
    return tuple(served)[:SERVED_LIMIT], oldest_ms


def affinities_of(events: Sequence[StoredEvent], categories_of: CategoriesOf) -> dict[str, float]:
    """Share of the decayed events that have each category, among events about items with categories."""
    latest = events[-AFFINITY_EVENTS:]
    if not latest:
        return {}
    ages_ms = np.array([latest[-1][0] - event[0] for event in latest], np.float64)
    weights = np.exp2(-ages_ms / AFFINITY_HALF_LIFE_MS).tolist()
    shares: defaultdict[str, float] = defaultdict(float)
    total = 0.0
    for (_, _, item_id, *_), weight in zip(latest, weights, strict=True):
        categories = categories_of(item_id)
        if categories:
            total += weight
        for category in categories:
            shares[category] += weight
    return {category: share / total for category, share in shares.items()}


def view_of(entry: UserEntry, categories: Categories, *, history_limit: int, expired_before_ms: int) -> UserView:
    """What is answered about a user; watermark and staleness of the state are the reader's to set."""
    served, oldest_ms = served_of(entry.slates, expired_before_ms)
    state = UserState(
        user_id=entry.user_id,
        history=history_of(entry.history[max(0, len(entry.history) - history_limit) :]),
        consumed_item_ids=frozenset([event[2] for event in entry.history]),
        hidden_item_ids=frozenset(entry.hidden),
        served_item_ids=served,
        followed_ids=tuple(sorted(entry.followed, key=entry.followed.__getitem__, reverse=True)),
        profile=entry.profile,
        event_counts=dict(entry.counts),
        category_affinities=affinities_of(entry.history, categories.of),
    )
    return UserView(state, entry.version, categories.version, history_limit, expired_before_ms, oldest_ms)
