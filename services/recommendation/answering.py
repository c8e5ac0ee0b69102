"""From a ranked slate to the page that the caller sees, with its explanations."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from services.recommendation.explanation import explained
from services.recommendation.guarded import Guarded
from services.recommendation.influence import EVENTS_COMPARED, Influences
from services.recommendation.memory import Memory
from services.recommendation.queries import Entry
from services.recommendation.ranked_slate import RankedSlate, entries
from services.recommendation.slate import Rows
from services.recommendation.stages import Journey, Lost
from shared.domain.items import Item
from shared.domain.services import Features

TITLES_SHARE = 0.5
"""Part of what is left of the budget that reading the history's items may take."""


class PageWriter:
    """Makes entries of rows."""

    def __init__(self, features: Guarded[Features], influences: Influences, memory: Memory) -> None:
        self._features = features
        self._influences = influences
        self._memory = memory

    async def entries(
        self, slate: RankedSlate, rows: Rows, first_position: int, journey: Journey, *, explain: bool
    ) -> tuple[Entry, ...]:
        """The rows as entries, explained when asked for."""
        page = entries(slate, rows, first_position)
        if not explain or not page:
            return page
        with journey.stage("explain"):
            latest = slate.served.history.item_ids[-EVENTS_COMPARED:]
            wanted = tuple(dict.fromkeys((*(entry.item_id for entry in page), *latest)))
            items, losses = await asyncio.gather(
                self._contents(wanted, journey), self._influences.losses(slate, rows, journey)
            )
            told = explained(slate, page, rows.tolist(), items, losses)
            return tuple(replace(entry, explanation=each) for entry, each in zip(page, told, strict=True))

    async def _contents(self, item_ids: Sequence[str], journey: Journey) -> dict[str, Item]:
        """The items by id: those that were read lately from memory, the others from the catalogue."""
        known = dict(zip(item_ids, self._memory.items(item_ids), strict=True))
        missing = [item_id for item_id, state in known.items() if state is None]
        if missing:
            try:
                states = await self._features.ask(
                    lambda port: port.items(missing), journey.budget.share_ms(TITLES_SHARE)
                )
            except Lost as lost:
                journey.lose("explain", lost.reason, f"{lost.detail}; explanations lack the history's items")
            else:
                self._memory.keep_items(states)
                known.update((state.item_id, state) for state in states)
        return {name: state.item for name, state in known.items() if state is not None and state.item is not None}
