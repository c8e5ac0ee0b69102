"""A caller that cannot wait for a receipt gets it by calling again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from services.feedback.erasures import Erasures
from services.feedback.trained_bundles import TrainedBundle
from shared.domain.event_log import ErasureReceipt
from shared.domain.intake import ErasedStore
from shared.kernel.errors import ErrorReason, ServiceError
from tests.contract.event_log_adapters import clock, event
from tests.fakes import MemoryLog


@dataclass
class SlowLog(MemoryLog):
    """A log whose search for the erased records ends when the test says so, or fails."""

    searched: asyncio.Event = field(default_factory=asyncio.Event)
    failure: ServiceError | None = None

    async def erase(self, user_id: str) -> ErasureReceipt | None:
        """Erase at once, count slowly."""
        receipt = await super().erase(user_id)
        if receipt is not None:
            await self.searched.wait()
        if self.failure is not None:
            raise self.failure
        return receipt


class OneBundle:
    """A registry with one bundle, trained on files."""

    async def read(self) -> tuple[TrainedBundle, ...]:
        """It."""
        return (TrainedBundle("one", None),)


async def given_up(erasures: Erasures, user_id: str) -> None:
    """A call whose deadline ends before the search does."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await erasures.erase(user_id)


async def test_who_calls_again_gets_the_receipt_of_the_call_that_was_given_up() -> None:
    log = SlowLog(clock)
    erasures = Erasures(log, OneBundle())
    await log.append([event(1), event(2)])
    await given_up(erasures, "ada")
    await given_up(erasures, "ada")
    log.searched.set()

    receipt, again = await erasures.erase("ada"), await erasures.erase("ada")

    assert receipt.stores == (ErasedStore("event-log", 2, done=True), ErasedStore("features", 0, done=False))
    assert (receipt.model_versions, receipt.erased_ms) == (("one",), clock())
    assert (again.stores, again.erased_ms) == ((), 0)


async def test_calls_at_the_same_time_get_the_same_receipt_and_who_gives_up_takes_it_from_nobody() -> None:
    log = SlowLog(clock)
    erasures = Erasures(log, OneBundle())
    await log.append([event(1), event(2)])
    first = asyncio.create_task(erasures.erase("ada"))
    await asyncio.sleep(0)  # it comes first
    second, third = (asyncio.create_task(erasures.erase("ada")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    third.cancel()
    await asyncio.wait([first, third])
    log.searched.set()

    receipts = [await second, await erasures.erase("ada"), await erasures.erase("ada")]

    assert [sum(store.records for store in each.stores) for each in receipts] == [2, 2, 0]


async def test_who_came_back_meanwhile_is_erased_too_and_both_lives_are_in_the_receipt() -> None:
    log = SlowLog(clock)
    erasures = Erasures(log, OneBundle())
    await log.append([event(1), event(2)])
    await given_up(erasures, "ada")
    await log.append([event(3)])
    log.searched.set()

    receipt = await erasures.erase("ada")

    assert receipt.stores[0] == ErasedStore("event-log", 3, done=True)
    assert receipt.watermark == await log.head()
    assert [each.fact for each in log.records if each.fact == event(3)] == []


async def test_the_failure_of_a_call_that_was_given_up_is_nobody_elses() -> None:
    log = SlowLog(clock, failure=ServiceError(ErrorReason.STORAGE_UNAVAILABLE, "the disk is gone"))
    erasures = Erasures(log)
    await log.append([event(1)])
    await given_up(erasures, "ada")
    log.searched.set()
    await asyncio.sleep(0)
    log.failure = None

    receipt = await erasures.erase("ada")

    assert receipt.stores == ()


async def test_closing_ends_what_goes_on_for_callers_that_are_gone() -> None:
    log = SlowLog(clock)
    erasures = Erasures(log)
    await log.append([event(1)])
    await given_up(erasures, "ada")

    await erasures.close()

    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
