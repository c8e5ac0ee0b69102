"""Writes the projection's changes to the store behind it: many records in one transaction.

Readers see a change before it is stored. That loses nothing: what a killed service had not stored yet, it reads from
the log again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import structlog

from services.feature.projection import Pending, Projection
from services.feature.store import FeatureStore, StoreMovedError
from services.feature.telemetry import STORE_SECONDS
from shared.kernel.background import Backoff
from shared.kernel.errors import ServiceError

log = structlog.get_logger()

REPLAY_SHARE = 2
"""While the log is replayed nobody waits for the store, and whoever is stored once for many events costs less: only
this part of the limit is written at a time."""


class Writer:
    """Stores the projection's changes, one transaction at a time.

    Args:
        projection: whose changes.
        store: where to.
        interval_ms: time in which changes gather before they are stored.
        limit: rows that may wait; beyond it the log is applied no further until they are stored.
        backoff: when to try again after the store refused.
    """

    def __init__(
        self, projection: Projection, store: FeatureStore, *, interval_ms: int, limit: int, backoff: Backoff
    ) -> None:
        self.store = store
        self.projection = projection
        self._interval_ms = interval_ms
        self._limit = limit
        self._backoff = backoff
        self._writing = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._erased = asyncio.Event()
        self._in_hand: Pending | None = None

    async def run(self) -> None:
        """Store changes as they come, for ever."""
        while True:
            await self._wanted.wait()
            await asyncio.sleep(self._interval_ms / 1000)
            with suppress(StoreMovedError):  # who follows the log waits for that, and reloads
                await self.flush()

    async def scrub(self) -> None:
        """Clean the store's files after each erasure, for ever; those that come meanwhile share the next cleaning."""
        if await self.store.needs_scrub():
            self._erased.set()
        while True:
            await self._erased.wait()
            self._erased.clear()
            with suppress(StoreMovedError):  # reloading asks again
                await self._retry(self.store.scrub)

    async def changed(self) -> None:
        """The projection moved: it will be stored soon, or now when too much waits."""
        if self.projection.progress.ready or self.projection.pending >= self._limit // REPLAY_SHARE:
            self._wanted.set()
        if self.projection.pending >= self._limit:
            await self.flush()

    async def flush(self) -> None:
        """Returns when everything applied before the call is stored; tries until the store takes it.

        Raises:
            StoreMovedError: it never will.
        """
        async with self._writing:
            self._wanted.clear()
            if self._in_hand:  # an interrupted call left it
                await self._insist(self._in_hand)
            if pending := self._take():
                await self._insist(pending)

    async def put(self, pending: Pending) -> None:
        """Store changes that were made of what the store holds; everything applied must be stored.

        Raises:
            StoreMovedError: the store never takes them.
        """
        async with self._writing:
            if pending.changes.erased_user_ids:
                self._in_hand = pending
                await self._insist(pending)

    async def close(self) -> None:
        """Store what waits, unless the store refuses: that is read from the log again at the next start."""
        async with self._writing:
            try:
                while pending := self._take():
                    await self.store.commit(pending.changes)
                    self._settle(pending)
            except ServiceError as error:
                log.warning("feature.store.left", reason=error.message)

    async def restart(self) -> None:
        """Empty store and projection together."""
        async with self._writing:
            await self._retry(self.store.clear)
            await self._load()

    async def reload(self) -> None:
        """Go on from what the store holds now: it is not what it was left as.

        Raises:
            ServiceError: it moved once more, or could not be read.
        """
        async with self._writing:
            await self._retry(self.store.resume)
            try:
                await self._load()
            except ServiceError:
                self.store.moved.set()  # memory still is what it was
                raise

    async def _load(self) -> None:
        await self.projection.load(self.store)
        self._in_hand = None
        self._wanted.clear()
        if await self.store.needs_scrub():
            self._erased.set()

    def _take(self) -> Pending | None:
        """What is to be stored next; it stays in hand until it is stored, whatever interrupts."""
        self._in_hand = self._in_hand or self.projection.take()
        return self._in_hand

    def _settle(self, pending: Pending) -> None:
        self._in_hand = None
        self.projection.settle(pending)

    async def _insist(self, pending: Pending) -> None:
        await self._retry(partial(self.store.commit, pending.changes))
        self._settle(pending)
        if pending.changes.erased_user_ids:
            self._erased.set()

    async def _retry(self, write: Callable[[], Awaitable[None]]) -> None:
        failures, wait_ms = self.projection.progress.failures, self._backoff.first_ms
        while True:
            try:
                with STORE_SECONDS.time():
                    await write()
            except StoreMovedError:
                failures.pop("store", None)
                raise
            except ServiceError as error:
                failures["store"] = error.message
                log.warning("feature.store.refused", reason=error.message, retry_in_ms=wait_ms)
            else:
                failures.pop("store", None)
                return
            await asyncio.sleep(wait_ms / 1000)
            wait_ms = min(2 * wait_ms, self._backoff.limit_ms)
