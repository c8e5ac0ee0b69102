"""The feature store (port): where the projection is kept between two runs of the service.

What is stored is always the state after a whole number of log records, together with the position behind them, written
at once or not at all. So applying the log is exactly once in effect: a killed service reads the position and goes on
from there, and the memory that it lost is computed again from the same records.

A store keeps rows and knows nothing of what they mean. Rows are found by `user_id` and `item_id`; whoever writes is the
only writer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from shared.domain.expiry import Expiry
from shared.domain.items import Item, User
from shared.domain.user_state import ItemStatus
from shared.domain.watermark import Watermark
from shared.kernel.errors import ServiceError

StoredEvent = tuple[int, int, str, int, float, str]
"""One event of a user about an item: event time (ms), offset of its record, item id, `EventType` code, value (NaN where
it carried none), event id. Sorting puts events in event-time order, ties in log order.

A plain tuple, because there are millions of them: Python's garbage collector does not look at those again.
"""


class StoredSlate(NamedTuple):
    """The items of one served slate in shown order. Sorting puts slates in the order in which they were served."""

    served_ms: int
    offset: int
    item_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredUser:
    """What is kept of one user, apart from the events.

    Attributes:
        subject: the log's pseudonym of the user; a tombstone names nothing else.
        event_counts: events by `EventType` code, see `UserState`.
        hidden: item id → (time, offset) of its latest hide.
        followed: id → (time, offset) of its latest follow.
        slates: the latest served ones, oldest first.
        profile_ms: when the profile was sent; 0 without one.
        blocked: creator, category or tag → (time, offset) of its latest hide.
    """

    user_id: str
    subject: str
    event_counts: dict[int, int]
    hidden: dict[str, tuple[int, int]]
    followed: dict[str, tuple[int, int]]
    slates: tuple[StoredSlate, ...]
    profile: User | None = None
    profile_ms: int = 0
    blocked: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UserHistory:
    """A stored user with the latest events, oldest first."""

    user: StoredUser
    events: tuple[StoredEvent, ...]


@dataclass(frozen=True, slots=True)
class StoredItem:
    """What is kept of one item.

    Attributes:
        status: PRESENT or DELETED; an item of which there are only events is not stored here.
        item: as upserted; None unless present.
        first_seen_ms: time of the first upsert; 0 before it.
        watermark: position behind the record of the last upsert or deletion; "" before the first.
        partition, offset: of that record, offset being the one behind it.
        updated_ms: when it was recorded; 0 before the first.
    """

    item_id: str
    status: ItemStatus
    item: Item | None
    first_seen_ms: int
    watermark: str
    partition: int
    offset: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class StoredCounts:
    """Event counts of one item. Apart from the content because they change more often.

    Attributes:
        windows: packed counts of each `TopOrder` in the order of its codes and of servings, see `DecayedCounts`.
    """

    item_id: str
    windows: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class UserChange:
    """A user that changed.

    Attributes:
        user: replaces what was kept.
        events: to be added.
        keep_from_ms: events before this time may go; None: all stay.
    """

    user: StoredUser
    events: Sequence[StoredEvent]
    keep_from_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """The difference between two positions of the log. `erased_user_ids` and `dropped_item_ids` are removed first.

    Attributes:
        expiry: what retention has taken out up to here; None: as before.
    """

    position: Watermark
    users: Sequence[UserChange] = ()
    items: Sequence[StoredItem] = ()
    counts: Sequence[StoredCounts] = ()
    erased_user_ids: Sequence[str] = ()
    dropped_item_ids: Sequence[str] = ()
    expiry: Expiry | None = None


class StoreMovedError(ServiceError):
    """The store is not as this process left it: a server was set back to an older state, or replaced by an empty one.

    What is in memory does not fit any more: it has to be loaded anew, to follow the log from the store's position.
    """


class FeatureStore(Protocol):
    """Rows of users and items, and the log position that they are the state of. Errors: `ServiceError`.

    Attributes:
        moved: set from the first `StoreMovedError` on, until `resume`.
    """

    moved: asyncio.Event

    async def resume(self) -> None:
        """Take the store as it is now."""

    async def position(self) -> Watermark:
        """The position of the last commit; the beginning for a new store."""

    async def expiry(self) -> Expiry:
        """What retention had taken out of the state at the last commit."""

    async def commit(self, changes: Changes) -> None:
        """Write rows and position together; when it raises, neither is written. The same changes again do no harm."""

    async def scrub(self) -> None:
        """Leave no byte of erased users in any file of the store. Costs as much as writing the whole store once."""

    async def needs_scrub(self) -> bool:
        """Whether a user was erased since the last `scrub`, before a restart too."""

    async def users(self, user_ids: Sequence[str]) -> list[UserHistory]:
        """Those of the users that are known, each with the latest `HISTORY_LIMIT` events."""

    async def user_id_of(self, subject: str) -> str | None:
        """The user that has this pseudonym."""

    async def events_of(self, user_id: str) -> list[StoredEvent]:
        """Every event that is kept of a user, oldest first: more than the history may hold."""

    async def count_users(self) -> int:
        """How many users are kept."""

    def all_users(self, *, whole: bool = False) -> AsyncIterator[UserHistory]:
        """Every user in the order of ids, with the latest events; `whole`: with every event that is kept."""

    async def all_items(self) -> list[StoredItem]:
        """Every item with content or a place in the log."""

    async def all_counts(self) -> list[StoredCounts]:
        """The counts of every item about which there are events."""

    async def page_token_key(self) -> bytes:
        """A secret of 32 bytes, made once for each store."""

    async def clear(self) -> None:
        """Forget everything: back to the beginning of the log."""
