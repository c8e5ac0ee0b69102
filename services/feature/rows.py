"""How users, events and items are written into the values of a store, whichever store it is."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence

from services.feature.store import StoredEvent, StoredSlate, StoredUser
from shared.domain.expiry import Expiry
from shared.domain.items import Item, User
from shared.wire.log import fact_from_bytes, fact_to_bytes

_LENGTH = struct.Struct("<I")
_ENCODE = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


def facts_to_text(user: StoredUser) -> str:
    """What is kept of a user apart from id, pseudonym, profile and events; one line."""
    return _ENCODE(
        {
            "counts": list(user.event_counts.items()),
            "hidden": [(name, *at) for name, at in user.hidden.items()],
            "followed": [(name, *at) for name, at in user.followed.items()],
            "blocked": [(name, *at) for name, at in user.blocked.items()],
            "slates": user.slates,
            "profile_ms": user.profile_ms,
        }
    )


def user_from_values(user_id: str, subject: str, facts: str | bytes, profile: bytes | None) -> StoredUser:
    """The user that the values were made of."""
    parts = json.loads(facts)
    return StoredUser(
        user_id=user_id,
        subject=subject,
        event_counts={int(kind): int(count) for kind, count in parts["counts"]},
        hidden=_moments(parts["hidden"]),
        followed=_moments(parts["followed"]),
        slates=tuple(StoredSlate(served_ms, offset, tuple(ids)) for served_ms, offset, ids in parts["slates"]),
        profile=profile_from_bytes(profile),
        profile_ms=parts["profile_ms"],
        blocked=_moments(parts.get("blocked", ())),  # of an older release, whose log could hold none
    )


def _moments(rows: Iterable[tuple[str, int, int]]) -> dict[str, tuple[int, int]]:
    return {name: (time_ms, offset) for name, time_ms, offset in rows}


def events_to_text(events: Sequence[StoredEvent]) -> str:
    """The events of one commit in order of arrival; one line."""
    return _ENCODE(events)


def events_from_texts(texts: Iterable[str | bytes]) -> list[StoredEvent]:
    """All events of some commits, oldest first."""
    return sorted((time_ms, offset, *rest) for text in texts for time_ms, offset, *rest in json.loads(text))


def profile_to_bytes(profile: User | None) -> bytes | None:
    """A profile as it is stored."""
    return None if profile is None else fact_to_bytes(profile)


def profile_from_bytes(data: bytes | None) -> User | None:
    """A stored profile."""
    fact = None if data is None else fact_from_bytes(data)
    return fact if isinstance(fact, User) else None


def content_to_bytes(item: Item | None) -> bytes | None:
    """An item's content as it is stored."""
    return None if item is None else fact_to_bytes(item)


def content_from_bytes(data: bytes | None) -> Item | None:
    """An item's stored content."""
    fact = None if data is None else fact_from_bytes(data)
    return fact if isinstance(fact, Item) else None


def windows_to_bytes(windows: Sequence[bytes]) -> bytes:
    """The packed counts of an item's windows, each behind its length."""
    return b"".join(_LENGTH.pack(len(window)) + window for window in windows)


def windows_from_bytes(data: bytes) -> tuple[bytes, ...]:
    """The inverse of `windows_to_bytes`."""
    windows, start = [], 0
    while start < len(data):
        begin = start + _LENGTH.size
        start = begin + _LENGTH.unpack_from(data, start)[0]
        windows.append(data[begin:start])
    return tuple(windows)


def expiry_to_text(expiry: Expiry) -> str:
    """Borders as they are stored."""
    return " ".join(map(str, (expiry.events_before_ms, expiry.impressions_before_ms, expiry.slates_before_ms)))


def expiry_from_text(text: str | bytes) -> Expiry:
    """Stored borders; empty: nothing has fallen out."""
    return Expiry(*map(int, text.split()))
