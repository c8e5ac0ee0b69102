"""Gives the catalogue its content vectors: in batches, in a thread of its own, as items come.

Vectors are a cache, not state: they are in no store and no dump, and a rebuilt catalogue gets them from the cache of
vectors. An item is served without them until they are there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice

import structlog

from services.feature import telemetry
from services.feature.catalogue import Catalogue
from services.feature.projection import Projection
from shared.domain.items import Item
from shared.model.content import ContentError
from shared.model.content_vectors import Computed, ContentVectors, Refusal

AT_ONCE = 64

log = structlog.get_logger()


class ContentKeeper:
    """Follows the projection's catalogue.

    Args:
        projection: whose items.
        vectors: makes vectors.
        thread: where it makes them.
    """

    def __init__(self, projection: Projection, vectors: ContentVectors, thread: ThreadPoolExecutor) -> None:
        self._projection, self._vectors, self._thread = projection, vectors, thread

    async def restore(self) -> None:
        """Give loaded items the vectors that the cache has, before anybody sees them; the others stay unread."""
        catalogue = self._projection.catalogue
        items = _unread(catalogue, len(catalogue.unread))
        computed = await self._in_thread(partial(self._vectors.cached, items))
        for item in items:
            if item.item_id in computed.vectors:
                catalogue.enrich(item, computed.vectors[item.item_id], watched=False)
        catalogue.unread = {item.item_id: None for item in items if item.item_id in computed.missing}
        _tell(computed.refusals)

    async def run(self) -> None:
        """Read items as they come, for ever; replaying the log comes first."""
        while True:
            catalogue, progress = self._projection.catalogue, self._projection.progress
            telemetry.CONTENT_PENDING.set(len(catalogue.unread))
            if not catalogue.unread or not progress.ready:
                await progress.next_move()
                continue
            items = _unread(catalogue, AT_ONCE)
            computed = await self._in_thread(partial(self._computed, items))
            self._take(catalogue, items, computed)

    def _take(self, catalogue: Catalogue, items: Sequence[Item], computed: Computed) -> None:
        for item in items:
            entry = catalogue.entries.get(item.item_id)
            if entry is not None and entry.upserted is item:  # else it was upserted anew and is read once more
                catalogue.unread.pop(item.item_id, None)
        for item in items:
            if item.item_id in computed.vectors:
                catalogue.enrich(item, computed.vectors[item.item_id])
        if computed.vectors:
            self._projection.progress.notify()
        telemetry.CONTENT_ENCODED.inc(len(computed.vectors))
        _tell(computed.refusals)

    def _computed(self, items: Sequence[Item]) -> Computed:
        """The vectors of a batch; what brings the encoder down is found by trying each item by itself."""
        try:
            return self._vectors.of(items)
        except ContentError:  # the encoder itself cannot be used
            raise
        except Exception as error:  # noqa: BLE001 - whatever a strange content causes, it is told and others go on
            if len(items) == 1:
                return Computed(refusals=[Refusal(items[0].item_id, "", f"{type(error).__name__}: {error}")])
            alone = [self._computed([item]) for item in items]
            return Computed(
                {item_id: found for each in alone for item_id, found in each.vectors.items()},
                [refusal for each in alone for refusal in each.refusals],
            )

    async def _in_thread(self, work: Callable[[], Computed]) -> Computed:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


@asynccontextmanager
async def keeping_content(projection: Projection, vectors: ContentVectors) -> AsyncIterator[ContentKeeper]:
    """A keeper with its thread; the cache is closed at the end."""
    with ThreadPoolExecutor(1, "content") as thread:
        try:
            yield ContentKeeper(projection, vectors, thread)
        finally:
            await asyncio.get_running_loop().run_in_executor(thread, vectors.close)


def _unread(catalogue: Catalogue, count: int) -> list[Item]:
    entries = (catalogue.entries.get(item_id) for item_id in islice(catalogue.unread, count))
    return [entry.upserted for entry in entries if entry is not None and entry.upserted is not None]


def _tell(refusals: Sequence[Refusal]) -> None:
    """Each refused content by the item's name: whoever sends the catalogue can mend it."""
    telemetry.CONTENT_REFUSED.inc(len(refusals))
    for refusal in refusals:
        log.warning(
            "feature.content.refused", item_id=refusal.item_id, reference=refusal.reference, reason=refusal.reason
        )
