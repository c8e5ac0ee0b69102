"""Keeps the catalogue as the feature service has it: reads it all, then follows its changes, for ever.

A broken stream is opened again behind the last change. A feature service that does not know that place any more (its
store was rebuilt on another log) is read from the beginning, and what it does not hold is dropped at the end.
"""

from __future__ import annotations

import asyncio

import structlog

from services.candidate_generation.catalogue import Catalogue
from shared.domain.provenance import Degradation
from shared.domain.services import Features
from shared.domain.user_state import ItemChanges
from shared.domain.watermark import Watermark
from shared.kernel.clock import Clock
from shared.kernel.errors import ErrorReason, ServiceError
from shared.kernel.readiness import Readiness

_AT_ONCE = 64  # items taken before requests get their turn
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_STALE_AFTER_MS = 3_000

_log = structlog.get_logger()


class CatalogueWatch:
    """Follows `Features.watch_items`.

    Args:
        features: where the catalogue is.
        catalogue: kept by nobody else.
        clock: Unix milliseconds.
        readiness: of the service; given once the catalogue has been read.

    Attributes:
        ready: the catalogue was read to its end once.
        watermark: log position that the catalogue includes.
        changed: set whenever something changed; whoever waits for it clears it.
    """

    def __init__(self, features: Features, catalogue: Catalogue, clock: Clock, readiness: Readiness) -> None:
        self._features, self.catalogue, self._clock = features, catalogue, clock
        self._readiness = readiness
        self.ready = False
        self.watermark = Watermark()
        self.changed = asyncio.Event()
        self._broken_ms = 0  # since when the stream is down; 0 = it is not
        self._seen: set[str] | None = set()  # ids met in the reading from the beginning; None behind it

    def degraded(self) -> tuple[Degradation, ...]:
        """What answers lose while the catalogue cannot be followed."""
        if not self._broken_ms or self._clock() - self._broken_ms < _STALE_AFTER_MS:
            return ()
        return (Degradation("catalogue", "stale", "the feature service does not answer: the last catalogue was used"),)

    async def run(self) -> None:
        """Follow for ever."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            before = self.watermark
            try:
                await self._follow()
                _log.warning("catalogue.lost", why="the feature service ended the stream")
            except ServiceError as error:
                _log.warning("catalogue.lost", why=error.message, reason=error.reason.name)
                if error.reason == ErrorReason.WATERMARK_INVALID:
                    self._seen = set()
            pause = _FIRST_PAUSE_SECONDS if self.watermark != before else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def _follow(self) -> None:
        if self._seen is not None:  # a first reading that broke off says nothing about what is gone: read it all
            self.watermark, self._seen = Watermark(), set()
        try:
            async for changes in self._features.watch_items(self.watermark):
                self._broken_ms = 0
                await self._apply(changes)
        finally:
            self._broken_ms = self._broken_ms or self._clock()

    async def _apply(self, changes: ItemChanges) -> None:
        for start in range(0, len(changes.upserted), _AT_ONCE):
            part = changes.upserted[start : start + _AT_ONCE]
            self.catalogue.upsert(part)
            if self._seen is not None:
                self._seen.update(state.item_id for state in part)
            self.changed.set()
            await asyncio.sleep(0)
        if changes.deleted_item_ids:
            self.catalogue.delete(changes.deleted_item_ids, self._clock())
            self.changed.set()
        self.watermark = Watermark.parse(changes.watermark)
        if changes.caught_up and self._seen is not None:
            self._drop_unseen(self._seen)

    def _drop_unseen(self, seen: set[str]) -> None:
        gone = [item_id for item_id in self.catalogue.living_ids() if item_id not in seen]
        if gone:
            self.catalogue.delete(gone, self._clock())
            self.changed.set()
        self._seen, self.ready = None, True
        self._readiness.set(True)
