"""Keeps the front's memory of popular items fresh while the feature store answers."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from services.recommendation.guarded import Guarded
from services.recommendation.memory import Memory
from services.recommendation.stages import Lost
from shared.domain.services import Features
from shared.domain.user_state import TopOrder

REMEMBERED_POPULAR = 500
CALL_MS = 1_000.0
SOON_S = 1.0


async def refresh(features: Guarded[Features], memory: Memory, every_s: float) -> NoReturn:
    """Read the popular items and their content every now and then; soon again after a failure."""
    while True:
        succeeded = await refreshed(features, memory)
        await asyncio.sleep(every_s if succeeded else min(SOON_S, every_s))


async def refreshed(features: Guarded[Features], memory: Memory) -> bool:
    """One round; whether there is something to remember now."""
    try:
        top = await features.ask(lambda port: port.top_items(TopOrder.POPULAR, limit=REMEMBERED_POPULAR), CALL_MS)
        if not top.item_ids:
            return False
        states = await features.ask(lambda port: port.items(top.item_ids), CALL_MS)
    except Lost:
        return False  # what is remembered stays; the requests that are served meanwhile list the loss
    memory.keep_items(states)
    memory.keep_popular(top.item_ids)
    return True
