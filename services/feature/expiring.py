"""Retention in the projection: what an `Expiry` of the log names falls out of every user and of the catalogue.

Of whom nothing is left, nothing is known any more. Users are done page by page, each with what they counted, and only
then the position moves: a service that is killed on the way does it again, which changes nothing for those that are
done. Users are rewritten whole, so that the store keeps no part of a row.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from services.feature.projection import Pending, Projection
from services.feature.store import FeatureStore, StoredEvent, StoredUser, UserChange
from services.feature.user_entry import UserEntry
from services.feature.writer import Writer
from shared.domain.event_log import LogRecord
from shared.domain.expiry import Expiry

PAGE_USERS = 200
"""Users that one transaction rewrites at most."""


@dataclass(frozen=True)
class _Affected:
    """A user of whom something falls out, and the events that stay and go."""

    user: StoredUser
    stay: list[StoredEvent]
    go: list[StoredEvent]


async def expire(writer: Writer, record: LogRecord, expiry: Expiry, now_ms: int) -> None:
    """Apply an expiry; store it and everything before it."""
    projection = writer.projection
    if not projection.fresh([record]):
        return
    wider = projection.expiry.joined(expiry)
    await writer.flush()
    page: list[_Affected] = []
    async for found in _affected(writer.store, wider):
        page.append(found)
        if len(page) == PAGE_USERS:
            await writer.put(await _rewritten(projection, page, wider))
            page = []
    await writer.put(await _rewritten(projection, page, wider))
    projection.expire(record, wider, now_ms)
    await writer.flush()


async def _affected(store: FeatureStore, expiry: Expiry) -> AsyncIterator[_Affected]:
    border_ms = expiry.events_before_ms
    async for stored in store.all_users(whole=True):
        events, entry = stored.events, UserEntry.load(stored)
        go = [event for event in events if event[0] < border_ms] if border_ms else []
        entry.expire(expiry)
        if go or entry.empty or entry.stored() != stored.user:
            yield _Affected(stored.user, [event for event in events if event[0] >= border_ms or not border_ms], go)


async def _rewritten(projection: Projection, page: list[_Affected], expiry: Expiry) -> Pending:
    entries = await projection.users.entries({each.user.user_id: each.user.subject for each in page})
    for entry in entries.values():
        entry.expire(expiry)
        entry.version += 1
    await projection.users.forget([user_id for user_id, entry in entries.items() if entry.empty])
    kept = [(entries[each.user.user_id], each.stay) for each in page if not entries[each.user.user_id].empty]
    changes = replace(
        projection.uncounted([event for each in page for event in each.go]),
        users=[UserChange(entry.stored(), stay) for entry, stay in kept],
        erased_user_ids=tuple(entries),
    )
    return Pending(changes, [(entry, entry.version) for entry, _ in kept])
