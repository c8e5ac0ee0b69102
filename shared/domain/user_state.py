"""What the log has taught about one user and about one item."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from shared.domain.freshness import UNSAID_OF_ITEM, UNSAID_OF_USER, ItemFreshness, UserFreshness
from shared.domain.history import History
from shared.domain.items import Item, User
from shared.domain.log_replay import LogReplay
from shared.domain.watermark import Watermark


@dataclass(frozen=True, slots=True)
class UserState:
    """One user's state at a log position. That of an unknown user is empty.

    Attributes:
        history: the latest events about items, oldest first.
        consumed_item_ids: every item consumed within the kept history.
        hidden_item_ids: not recommended again while they count as hidden.
        blocked_ids: creators, categories and tags of which nothing is recommended while they count as blocked.
        served_item_ids: items of the latest slates, latest first, each once.
        event_counts: events since the beginning by `EventType` code; of kinds that retention takes out: those in the
            history when it last did, and all since.
        category_affinities: decayed share of the user's consuming events by category, 0 to 1.
        watermark: log position that the state includes.
        stale: the asked position was not reached in time.
        freshness: how each feature stands.
    """

    user_id: str
    history: History
    consumed_item_ids: frozenset[str] = frozenset()
    hidden_item_ids: frozenset[str] = frozenset()
    served_item_ids: tuple[str, ...] = ()
    followed_ids: tuple[str, ...] = ()
    profile: User | None = None
    event_counts: dict[int, int] = field(default_factory=dict)
    category_affinities: dict[str, float] = field(default_factory=dict)
    watermark: str = ""
    stale: bool = False
    freshness: UserFreshness = UNSAID_OF_USER
    blocked_ids: frozenset[str] = frozenset()


class ItemStatus(IntEnum):
    """What the catalogue knows of an item. Codes equal `winnow.v1.ItemStatus`."""

    PRESENT = 1
    NOT_FOUND = 2
    DELETED = 3


@dataclass(frozen=True, slots=True)
class ItemState:
    """One item at a log position.

    Attributes:
        item: the content; None unless present.
        popularity: consuming events with weight halved every week.
        trend: the same, halved every day.
        updated_watermark: log position of the last upsert; "" when never upserted.
        first_seen_ms: when the catalogue first got it.
        hourly, monthly: as popularity, halved every hour and every 30 days.
        exposures: entries of served slates with weight halved every week. Those of a user who is erased go with the
            latest 50 slates that are kept of a user; older ones are nobody's.
        updated_ms: when it was last upserted or deleted; 0 when never.
        freshness: how each feature stands.
    """

    item_id: str
    status: ItemStatus
    item: Item | None = None
    popularity: float = 0.0
    trend: float = 0.0
    updated_watermark: str = ""
    first_seen_ms: int = 0
    hourly: float = 0.0
    monthly: float = 0.0
    exposures: float = 0.0
    updated_ms: int = 0
    freshness: ItemFreshness = UNSAID_OF_ITEM


@dataclass(frozen=True, slots=True)
class ItemChanges:
    """A run of changes of the catalogue.

    Attributes:
        watermark: position behind these changes.
        caught_up: the reader now holds everything up to `watermark`.
    """

    upserted: tuple[ItemState, ...]
    deleted_item_ids: tuple[str, ...]
    watermark: str
    caught_up: bool


class TopOrder(IntEnum):
    """What a list of top items is ordered by: consuming events whose weight is halved every week, day, hour, 30 days.

    Codes equal `winnow.v1.TopOrder`.
    """

    POPULAR = 1
    TRENDING = 2
    HOURLY = 3
    MONTHLY = 4


@dataclass(frozen=True, slots=True)
class TopItems:
    """Items with decayed counts, best first, at a log position.

    Attributes:
        next_page_token: asks for what stands behind them; "" when nothing does.
    """

    item_ids: tuple[str, ...]
    scores: tuple[float, ...]
    watermark: str = ""
    next_page_token: str = ""


@dataclass(frozen=True, slots=True)
class ProjectionStatus:
    """How far the feature projection is behind the log.

    Attributes:
        caught_up: replay is over and nothing fails.
        applied_records: since the service started.
        replay: None when it is over, or the log was not reached yet.
        problems: what does not work right now, in words.
    """

    watermark: str
    head_watermark: str
    caught_up: bool
    users: int
    items: int
    applied_records: int
    applied_ms: int = 0
    replay: LogReplay | None = None
    problems: tuple[str, ...] = ()

    @property
    def lag_records(self) -> int:
        """Records of the log that the state does not include yet."""
        head, applied = Watermark.parse(self.head_watermark), Watermark.parse(self.watermark)
        return sum(max(0, offset - applied.offset(partition)) for partition, offset in head.positions)
