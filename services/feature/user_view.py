"""From a user's facts to the state that is answered.

Everything here is a pure function of the facts, the catalogue and the moment, so it is computed when it is read and
kept until one of them changes.

The category affinities are read through the catalogue of now: an event about an unknown item starts to count when the
item arrives, and a corrected category corrects the past.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.feature.store import StoredEvent, StoredSlate
from services.feature.user_entry import UserEntry
from shared.domain.freshness import ANY_AGE, FeatureStatus, UserFreshness
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
class Lifetimes:
    """How long things about a user count, in milliseconds.

    Attributes:
        served_ms: what was shown counts as served.
        hidden_ms: what the user hid or blocked counts as such; None: for ever.
        history_age_ms, profile_age_ms: older ones are reported as OUTSIDE_MAX_AGE; 0: none is.
    """

    served_ms: int
    hidden_ms: int | None = None
    history_age_ms: int = ANY_AGE
    profile_age_ms: int = ANY_AGE


@dataclass(frozen=True, slots=True)
class Moment:
    """When a state is asked for, and how much of it."""

    now_ms: int
    history_limit: int


@dataclass(frozen=True, slots=True)
class Past:
    """What a state says of the events alone: most requests find a new slate in the state, and few a new event."""

    history: History
    consumed: frozenset[str]
    affinities: Mapping[str, float]
    made_of: tuple[int, int, int]
    """Versions of the history and of the categories, and the events asked for."""


@dataclass(frozen=True, slots=True)
class UserView:
    """A state and what it was made of.

    Attributes:
        past: what of it was made of the events.
        made: the moment that it was made for.
        holds_until_ms: afterwards something in it has expired.
    """

    state: UserState
    past: Past
    version: int
    categories_version: int
    made: Moment
    holds_until_ms: int

    def holds(self, entry: UserEntry, categories_version: int, moment: Moment) -> bool:
        """Whether the state is still what would be made now."""
        return (
            self.version == entry.version
            and self.made.history_limit == moment.history_limit
            and self.categories_version == categories_version
            and self.made.now_ms <= moment.now_ms <= self.holds_until_ms
        )


def history_of(events: Sequence[StoredEvent]) -> History:
    """Events in columns."""
    if not events:
        return History.empty()
    times, _, item_ids, types, values, event_ids = zip(*events, strict=True)
    return History(item_ids, np.array(types, np.int32), value_column(values), np.array(times, np.int64), event_ids)


def served_of(slates: Sequence[StoredSlate], since_ms: int) -> tuple[tuple[str, ...], int]:
    """Items served since that moment, latest first, each once; and the time of the oldest slate among them."""
    served: dict[str, None] = {}
    oldest_ms = NEVER
    for slate in reversed(slates):
        if slate.served_ms < since_ms or len(served) >= SERVED_LIMIT:
            break
        served.update(dict.fromkeys(slate.item_ids))
        oldest_ms = slate.served_ms
    return tuple(served)[:SERVED_LIMIT], oldest_ms


def hidden_of(hidden: Mapping[str, tuple[int, int]], now_ms: int, expiry_ms: int | None) -> tuple[frozenset[str], int]:
    """What counts as hidden, or as blocked; and the time of the oldest hide among it that will expire."""
    if expiry_ms is None:
        return frozenset(hidden), NEVER
    kept = {item_id: time_ms for item_id, (time_ms, _) in hidden.items() if time_ms >= now_ms - expiry_ms}
    return frozenset(kept), min(kept.values(), default=NEVER)


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


def past_of(entry: UserEntry, categories: Categories, history_limit: int) -> Past:
    """What the events say: the last view's, while it holds."""
    made_of = entry.history_version, categories.version, history_limit
    if isinstance(entry.view, UserView) and entry.view.past.made_of == made_of:
        return entry.view.past
    return Past(
        history_of(entry.history[max(0, len(entry.history) - history_limit) :]),
        frozenset([event[2] for event in entry.history]),
        affinities_of(entry.history, categories.of),
        made_of,
    )


def view_of(entry: UserEntry, categories: Categories, lifetimes: Lifetimes, moment: Moment) -> UserView:
    """What is answered about a user; watermark and staleness of the state are the reader's to set."""
    past = past_of(entry, categories, moment.history_limit)
    served, oldest_served_ms = served_of(entry.slates, moment.now_ms - lifetimes.served_ms)
    hidden, oldest_hidden_ms = hidden_of(entry.hidden, moment.now_ms, lifetimes.hidden_ms)
    blocked, oldest_blocked_ms = hidden_of(entry.blocked, moment.now_ms, lifetimes.hidden_ms)
    state = UserState(
        user_id=entry.user_id,
        history=past.history,
        consumed_item_ids=past.consumed,
        hidden_item_ids=hidden,
        blocked_ids=blocked,
        served_item_ids=served,
        followed_ids=tuple(sorted(entry.followed, key=entry.followed.__getitem__, reverse=True)),
        profile=entry.profile,
        event_counts=dict(entry.counts),
        category_affinities=dict(past.affinities),
    )
    oldest_ms = min(oldest_hidden_ms, oldest_blocked_ms)
    ends_ms = (oldest_served_ms + lifetimes.served_ms, oldest_ms + (lifetimes.hidden_ms or 0))
    return UserView(state, past, entry.version, categories.version, moment, min(ends_ms))


def freshness_of(entry: UserEntry, state: UserState, lifetimes: Lifetimes, now_ms: int) -> UserFreshness:
    """How each feature of an answer stands at a moment."""
    latest_ms = entry.history[-1][0] if entry.history else None
    profile_ms = entry.profile_ms if entry.profile is not None else None
    history = FeatureStatus.at(latest_ms, now_ms, lifetimes.history_age_ms)
    return UserFreshness(
        history=history,
        profile=FeatureStatus.at(profile_ms, now_ms, lifetimes.profile_age_ms),
        category_affinities=history if state.category_affinities else FeatureStatus.MISSING,
    )
