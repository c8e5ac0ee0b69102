"""One user in memory: takes facts in, gives the state that the request path reads.

What is kept does not depend on the order in which facts arrive: the history is the latest 1,000 events by event time
(ties by log order), a follow, a hide or a block counts from its latest event, and slates are the latest ones served.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Sequence

from services.feature.store import StoredEvent, StoredSlate, StoredUser, UserHistory
from shared.domain.events import CONSUMING, EventType
from shared.domain.expiry import Expiry
from shared.domain.history import HISTORY_LIMIT
from shared.domain.items import User
from shared.domain.slates import ServedSlate

CONSUMING_CODES = frozenset(int(kind) for kind in CONSUMING)
FOLLOWED_LIMIT = 1000
"""Follows that are kept of a user, latest ones."""
BLOCKED_LIMIT = 1000
"""Blocked creators, categories and tags that are kept of a user, latest ones."""
HIDDEN_LIMIT = 5000
"""Hidden items that are kept of a user, latest ones."""
SLATE_LIMIT = 50
"""Served slates that are kept of a user, latest ones."""


class UserEntry:
    """A user's facts.

    Attributes:
        history: the latest events about items, oldest first.
        added: events that the store does not hold yet, in order of arrival.
        version: grows with every change.
        history_version: grows with every change of the history.
        stored_version: the version that the store holds.
        view: the last answer made from it, see `user_view`.
        weight: events by which it counts against the memory limit.
    """

    __slots__ = (
        "added", "blocked", "counts", "followed", "hidden", "history", "history_version", "profile", "profile_ms",
        "slates", "stored_version", "subject", "user_id", "version", "view", "weight",
    )  # fmt: skip

    def __init__(self, user_id: str, subject: str) -> None:
        self.user_id = user_id
        self.subject = subject
        self.history: list[StoredEvent] = []
        self.counts: dict[int, int] = {}
        self.hidden: dict[str, tuple[int, int]] = {}
        self.followed: dict[str, tuple[int, int]] = {}
        self.blocked: dict[str, tuple[int, int]] = {}
        self.slates: list[StoredSlate] = []
        self.profile: User | None = None
        self.profile_ms = 0
        self.added: list[StoredEvent] = []
        self.version = 0
        self.history_version = 0
        self.stored_version = 0
        self.view: object = None
        self.weight = 0

    @classmethod
    def load(cls, stored: UserHistory) -> UserEntry:
        """Bring a stored user back; of more events than a history holds the latest."""
        user = stored.user
        entry = cls(user.user_id, user.subject)
        entry.history = list(stored.events[-HISTORY_LIMIT:])
        entry.counts = dict(user.event_counts)
        entry.hidden = dict(user.hidden)
        entry.followed = dict(user.followed)
        entry.blocked = dict(user.blocked)
        entry.slates = list(user.slates)
        entry.profile, entry.profile_ms = user.profile, user.profile_ms
        return entry

    @property
    def pinned(self) -> bool:
        """Whether memory holds more than the store: the entry may not leave memory."""
        return self.version != self.stored_version

    @property
    def empty(self) -> bool:
        """Whether nothing is known of the user."""
        lists = (self.history, self.counts, self.hidden, self.followed, self.blocked, self.slates)
        return not (any(lists) or self.profile)

    def stored(self) -> StoredUser:
        """What is to be kept, apart from the events."""
        return StoredUser(
            user_id=self.user_id,
            subject=self.subject,
            event_counts=dict(self.counts),
            hidden=dict(self.hidden),
            followed=dict(self.followed),
            slates=tuple(self.slates),
            profile=self.profile,
            profile_ms=self.profile_ms,
            blocked=dict(self.blocked),
        )

    def expire(self, expiry: Expiry) -> None:
        """Drop what has fallen out; of its kinds nothing more is counted than what is left."""
        if before_ms := expiry.events_before_ms:
            self.history_version += 1
            self.history = [event for event in self.history if event[0] >= before_ms]
            self.counts = {kind: count for kind, count in self.counts.items() if kind not in CONSUMING_CODES}
            self.counts.update(Counter(event[3] for event in self.history))
        if expiry.impressions_before_ms:
            self.counts.pop(int(EventType.IMPRESSION), None)
        self.slates = [slate for slate in self.slates if slate.served_ms >= expiry.slates_before_ms]

    def remember(self, event: StoredEvent) -> None:
        """Put an event about an item at its place in the history."""
        history = self.history
        self.history_version += 1
        if not history or event > history[-1]:
            history.append(event)
        else:
            insort(history, event)
        if len(history) > HISTORY_LIMIT:
            del history[0]
        self.added.append(event)

    def hide(self, item_id: str, time_ms: int, offset: int) -> None:
        """Remember a hide; it counts from its latest event."""
        _note(self.hidden, item_id, (time_ms, offset), HIDDEN_LIMIT)

    def block(self, target_id: str, time_ms: int, offset: int) -> None:
        """Remember a block of a creator, category or tag; it counts from its latest event."""
        _note(self.blocked, target_id, (time_ms, offset), BLOCKED_LIMIT)

    def follow(self, followed_id: str, time_ms: int, offset: int) -> None:
        """Remember a follow; it counts from its latest event."""
        _note(self.followed, followed_id, (time_ms, offset), FOLLOWED_LIMIT)

    def serve(self, slate: ServedSlate, offset: int) -> None:
        """Remember what was served."""
        insort(self.slates, StoredSlate(slate.served_ms, offset, slate.shown_item_ids))
        del self.slates[:-SLATE_LIMIT]


def _note(moments: dict[str, tuple[int, int]], name: str, at: tuple[int, int], limit: int) -> None:
    moments[name] = max(at, moments.get(name, at))
    if len(moments) > limit:
        del moments[min(moments, key=moments.__getitem__)]


def keep_from_ms(entry: UserEntry, window_start_ms: int | None) -> int | None:
    """Stored events before this time are neither history nor counted any more; None while all are needed."""
    if window_start_ms is None or len(entry.history) < HISTORY_LIMIT:
        return None
    return min(window_start_ms, entry.history[0][0])


def worth_storing(events: Sequence[StoredEvent], keep_from: int | None) -> list[StoredEvent]:
    """Those of the added events that are not to be removed at once."""
    return list(events) if keep_from is None else [event for event in events if event[0] >= keep_from]
