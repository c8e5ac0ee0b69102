"""Erasures to their end, also when the caller is gone: whoever calls again gets the receipt.

To say what an erasure removed, the log is searched for the user's records, which on a large log takes longer than some
callers wait. A search that was begun goes on; what it found waits for the next call. A call that comes while an earlier
one still searches gets the same receipt: its caller may be the same one, who gave up a moment before this side saw it.
A service that is restarted while the log is searched begins the search again with the next call; a receipt that was
found and not fetched ends with the process: then a repeated call gets an empty one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from services.feedback.trained_bundles import NoBundles, TrainedBundles
from shared.domain.event_log import ErasureReceipt, EventLog
from shared.domain.intake import ErasedStore, UserErasure
from shared.kernel.errors import ServiceError

LOG_STORE: Final = "event-log"
FOLLOWING_STORES: Final = ("features",)
"""Stores that drop an erased user when they apply the tombstone."""
WAITING_RECEIPTS: Final = 1_000
"""Receipts that nobody fetches: the oldest are dropped beyond this."""


class Erasures:
    """Erases users of one log.

    Args:
        log: where they are.
        bundles: what was trained on it.
    """

    def __init__(self, log: EventLog, bundles: TrainedBundles | None = None) -> None:
        self._log = log
        self._bundles = bundles or NoBundles()
        self._running: dict[str, asyncio.Task[UserErasure]] = {}  # the latest of each user, while its caller waits
        self._abandoned: dict[str, asyncio.Task[UserErasure]] = {}

    async def erase(self, user_id: str) -> UserErasure:
        """Destroy the user's key; stores that follow the log drop the user when they come to the tombstone.

        Raises:
            ServiceError: of the registry, then nothing was erased; or of the log.
        """
        earlier = self._abandoned.pop(user_id, None) or self._running.get(user_id)
        task = self._running[user_id] = asyncio.create_task(self._after(earlier, user_id))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._running.get(user_id) is task:  # else a later call waits for this one
                self._abandon(user_id, task)
            raise
        finally:
            if self._running.get(user_id) is task:
                del self._running[user_id]

    async def close(self) -> None:
        """Give up what goes on for callers that are gone."""
        tasks = list(self._abandoned.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _abandon(self, user_id: str, task: asyncio.Task[UserErasure]) -> None:
        while len(self._abandoned) >= WAITING_RECEIPTS:
            self._abandoned.pop(next(iter(self._abandoned))).cancel()
        task.add_done_callback(_look_at)
        self._abandoned[user_id] = task

    async def _after(self, earlier: asyncio.Task[UserErasure] | None, user_id: str) -> UserErasure:
        """The receipt of a call that was given up, with that of the user's life since, if there is one."""
        receipts = []
        if earlier is not None:
            with suppress(ServiceError):  # it told nobody; the call of now will
                receipts.append(await earlier)
        receipts.append(await self._erase(user_id))
        return _together(receipts)

    async def _erase(self, user_id: str) -> UserErasure:
        """Bundles are read before: where they cannot be, nothing is erased, because no receipt could be given."""
        bundles = await self._bundles.read()
        receipt = await self._log.erase(user_id)
        if receipt is None:
            return UserErasure((), await self._log.head(), (), 0)
        first = receipt.first
        versions = () if first is None else tuple(each.version for each in bundles if each.may_hold(first))
        return UserErasure(_stores(receipt), receipt.watermark, versions, receipt.erased_ms)


def _stores(receipt: ErasureReceipt) -> tuple[ErasedStore, ...]:
    following = (ErasedStore(store, 0, done=False) for store in FOLLOWING_STORES)
    return (ErasedStore(LOG_STORE, receipt.records, done=True), *following)


def _together(receipts: Iterable[UserErasure]) -> UserErasure:
    total, *others = receipts
    for other in others:
        records: dict[str, ErasedStore] = {}
        for each in (*total.stores, *other.stores):
            before = records.get(each.store, ErasedStore(each.store, 0, done=True))
            records[each.store] = ErasedStore(each.store, before.records + each.records, done=before.done and each.done)
        total = UserErasure(
            tuple(records.values()),
            total.watermark.joined(other.watermark),
            tuple(sorted({*total.model_versions, *other.model_versions})),
            max(total.erased_ms, other.erased_ms),
        )
    return total


def _look_at(task: asyncio.Task[UserErasure]) -> None:
    """So that a failure that nobody fetches is not reported as one that was overlooked."""
    if not task.cancelled():
        task.exception()
