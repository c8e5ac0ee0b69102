"""What every `EventLog` that lasts does when it is opened again, and with positions that are not its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.domain.event_log import Erasure, EventLog
from shared.domain.items import Item, User
from shared.domain.watermark import Watermark
from shared.kernel.errors import ServiceError
from tests.contract.event_log_adapters import DURABLE, OpenLog, as_bytes, batches, event, records, slate


@pytest.fixture(params=DURABLE)
def open_log(request: pytest.FixtureRequest) -> OpenLog:
    return DURABLE[request.param]


@pytest.fixture
async def log(open_log: OpenLog, tmp_path: Path) -> AsyncIterator[EventLog]:
    async with open_log(tmp_path) as opened:
        yield opened


async def test_everything_is_there_when_the_log_is_opened_again(open_log: OpenLog, tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        await log.append([event(1), slate("r-1"), Item("x"), User("ada")])
        written, head = await records(log), await log.head()

    async with open_log(tmp_path) as log:
        found = await records(log)

        assert as_bytes(record.fact for record in found) == as_bytes(record.fact for record in written)
        assert [(each.watermark, each.subject) for each in found] == [
            (each.watermark, each.subject) for each in written
        ]
        assert await log.head() == head
        assert await log.slate("r-1") is not None


async def test_repeats_are_known_over_the_whole_log_and_every_restart(open_log: OpenLog, tmp_path: Path) -> None:
    everything = [event(number, user_id=f"user-{number % 3}") for number in range(150)]
    for start in range(0, 150, 30):
        async with open_log(tmp_path) as log:
            for first in range(start, start + 30, 10):
                await log.append(everything[first : first + 10])

    async with open_log(tmp_path) as log:
        head = await log.head()
        await log.append(everything)

        assert await log.head() == head
        assert len(await records(log)) == 150


async def test_a_repeated_slate_is_known_after_a_restart(open_log: OpenLog, tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        await log.append([slate("r-1")])

    async with open_log(tmp_path) as log:
        await log.append([slate("r-1")])

        assert len(await records(log)) == 1


async def test_a_user_keeps_the_pseudonym_over_a_restart(open_log: OpenLog, tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        await log.append([event(1)])

    async with open_log(tmp_path) as log:
        await log.append([event(2)])

        assert len({record.subject for record in await records(log)}) == 1


async def test_an_erasure_lasts(open_log: OpenLog, tmp_path: Path) -> None:
    async with open_log(tmp_path) as log:
        await log.append([event(1), event(2, user_id="bob")])
        await log.erase("ada")

    async with open_log(tmp_path) as log:
        facts = [record.fact for record in await records(log)]

        left = [fact for fact in facts if not isinstance(fact, Erasure)]
        assert left.count(None) == 1
        assert as_bytes(left) == as_bytes([event(2, user_id="bob")])
        assert await log.erase("ada") is None


async def test_large_records_come_in_small_batches_because_a_batch_is_a_message(log: EventLog) -> None:
    await log.append([Item(f"item-{number}", description="d" * 100_000) for number in range(30)])

    found = await batches(log, batch_size=5_000)

    assert sum(len(batch.records) for batch in found) == 30
    assert max(sum(map(len, as_bytes(each.fact for each in batch.records))) for batch in found) < 2 << 20


@pytest.mark.parametrize("watermark", ["w1-0.2", "w1-7.1", "w1-0.1-9.4"])
async def test_a_position_that_the_log_never_gave_out_is_refused(log: EventLog, watermark: str) -> None:
    await log.append([event(1)])

    with pytest.raises(ServiceError) as refused:
        await anext(log.tail(Watermark.parse(watermark), follow=True))

    assert refused.value.reason.name == "WATERMARK_INVALID"
    assert refused.value.metadata == {"watermark": watermark}
