"""What happened: the facts that clients send and that every model learns from.

Numbers equal `winnow.v1.EventType`, so the wire, the log and the arrays of the models share one code.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class EventType(IntEnum):
    """One kind of feedback. Names (lower case) are those of the interchange files."""

    UNSPECIFIED = 0
    IMPRESSION = 1
    VIEW = 2
    CLICK = 3
    LIKE = 4
    DISLIKE = 5
    COMMENT = 6
    SHARE = 7
    ADD_TO_CART = 8
    PURCHASE = 9
    RATING = 10
    DWELL = 11
    HIDE = 12
    FOLLOW = 13

    @property
    def label(self) -> str:
        """The name in interchange files, on the command line and in configuration, e.g. `add_to_cart`."""
        return self.name.lower()

    @classmethod
    def from_label(cls, label: str) -> EventType:
        """Read a name of the interchange files.

        Raises:
            ValueError: the name is unknown; the message lists the known ones.
        """
        known = {kind.label: kind for kind in cls if kind}
        if label not in known:
            raise ValueError(f"unknown event type {label!r}; known are {', '.join(sorted(known))}")
        return known[label]


# An item counts as consumed (is not recommended again, is history for the models) after one of these.
CONSUMING = frozenset({
    EventType.VIEW, EventType.CLICK, EventType.LIKE, EventType.DISLIKE, EventType.COMMENT, EventType.SHARE,
    EventType.ADD_TO_CART, EventType.PURCHASE, EventType.RATING, EventType.DWELL,
})  # fmt: skip


class Event(NamedTuple):
    """One feedback event of one user.

    A tuple, because to make one costs a third of what a frozen dataclass costs, and a replay of the log makes millions.

    Attributes:
        event_id: chosen by the client, unique for ever; a repeat is the same event.
        user_id: the client's id of the user ("" only for an anonymous session's inline events).
        item_id: the item it is about ("" where the type needs none, e.g. `follow`).
        event_type: code of `EventType`; an int that this release does not know is kept as it is.
        value: rating, seconds of dwell, price …; None when the client sent none.
        event_time_ms: when it happened, Unix milliseconds.
        recommendation_id: the slate it followed from; "" when none.
        session_id, surface: where it happened; "" when not said.
        target_id: whom or what a `follow`, or a `hide` without an item, is for; "" otherwise.
    """

    event_id: str
    user_id: str
    item_id: str
    event_type: int
    event_time_ms: int
    value: float | None = None
    recommendation_id: str = ""
    session_id: str = ""
    surface: str = ""
    target_id: str = ""
