"""The whole state as canonical text: equal states give equal bytes, whatever way led to them.

One JSON object a line: the position, then items and users in the order of their ids. What is derived from these (values
of counts, affinities) is not in it, nor what an answer never shows: counts behind the evaluated buckets.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from services.feature.catalogue import Catalogue
from services.feature.item_entry import ItemEntry
from services.feature.store import FeatureStore, UserHistory
from shared.domain.user_state import TopOrder
from shared.domain.watermark import Watermark
from shared.wire.log import fact_to_bytes


async def dump(position: Watermark, catalogue: Catalogue, store: FeatureStore) -> bytes:
    """State of the catalogue and of the stored users; everything must be stored."""
    lines = [_line({"position": str(position)}), *map(_line, _items(catalogue))]
    lines += [_line(user) async for user in _users(store)]
    return b"".join(lines)


def _items(catalogue: Catalogue) -> Iterator[dict[str, Any]]:
    for item_id in sorted(catalogue.entries):
        entry = catalogue.entries[item_id]
        counts = {order.name.lower(): catalogue.counts[order].pairs(entry.row) for order in TopOrder}
        counts["exposures"] = catalogue.exposures.pairs(entry.row)
        if entry.watermark or any(counts.values()):
            yield {"item": item_id} | _content(entry) | counts


def _content(entry: ItemEntry) -> dict[str, Any]:
    return {
        "status": entry.status.name,
        "content": None if entry.upserted is None else fact_to_bytes(entry.upserted).hex(),
        "first_seen_ms": entry.first_seen_ms,
        "watermark": entry.watermark,
        "updated_ms": entry.updated_ms,
    }


async def _users(store: FeatureStore) -> AsyncIterator[dict[str, Any]]:
    async for stored in store.all_users():
        yield _user(stored)


def _user(stored: UserHistory) -> dict[str, Any]:
    user = stored.user
    return {
        "user": user.user_id,
        "subject": user.subject,
        "history": stored.events,
        "event_counts": sorted(user.event_counts.items()),
        "hidden": sorted(user.hidden.items()),
        "followed": sorted(user.followed.items()),
        "blocked": sorted(user.blocked.items()),
        "slates": user.slates,
        "profile_ms": user.profile_ms,
        "profile": None if user.profile is None else fact_to_bytes(user.profile).hex(),
    }


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
