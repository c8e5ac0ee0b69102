"""kill -9 at any moment: what was acknowledged is there exactly once, in order, and readers miss and repeat nothing."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.clients.feedback import GrpcFeedback
from shared.domain.events import Event
from shared.domain.watermark import Watermark
from shared.kernel.client import open_channel
from shared.kernel.errors import ServiceError
from tests.contract.event_log_adapters import DURABLE, event, kafka_settings, records
from tests.integration.feedback.killable import FeedbackProcess

SOAK = bool(os.environ.get("WINNOW_SOAK"))
KILLS = dict.fromkeys(("sqlite", "kafka"), 200 if SOAK else 20)
LATEST_S = 0.4
MOST_EVENTS = 40
"""Of one batch."""
STREAMER, CALLER = "streamer", "caller"


@dataclass
class Writer:
    """Sends numbered events of one user, and after each death again what was not acknowledged."""

    user_id: str
    generator: random.Random
    acknowledged: int = 0
    sent: int = 0

    def batch(self, start: int) -> list[Event]:
        return [
            numbered(self.user_id, number) for number in range(start, start + self.generator.randint(1, MOST_EVENTS))
        ]

    async def stream(self, client: GrpcFeedback) -> None:
        """One stream, until it breaks."""
        on_the_way: list[int] = []

        async def batches() -> AsyncIterator[list[Event]]:
            start = self.acknowledged
            while True:
                batch = self.batch(start)
                start += len(batch)
                self.sent = max(self.sent, start)
                on_the_way.append(start)
                yield batch

        async for recorded in client.stream_events(batches()):
            assert recorded.refused == {}
            self.acknowledged = on_the_way.pop(0)

    async def call(self, client: GrpcFeedback) -> None:
        """One call after the other, each repeating a few events of the one before, until one fails."""
        while True:
            batch = self.batch(max(0, self.acknowledged - self.generator.randint(0, 3)))
            self.sent = max(self.sent, _number(batch[-1]) + 1)
            recorded = await client.record_events(batch)
            assert recorded.refused == {}
            self.acknowledged = max(self.acknowledged, _number(batch[-1]) + 1)


@dataclass
class Reader:
    """Follows the log, and after each death goes on where it was."""

    position: Watermark = field(default_factory=Watermark)
    seen: list[Event] = field(default_factory=list)

    async def follow(self, client: GrpcFeedback) -> None:
        async with aclosing(client.tail(self.position, follow=True, batch_size=64)) as following:  # type: ignore[type-var]
            async for batch in following:
                self.seen += [record.fact for record in batch.records if isinstance(record.fact, Event)]
                self.position = batch.watermark


@pytest.mark.parametrize("adapter", KILLS)
async def test_what_was_acknowledged_survives_any_number_of_kills(tmp_path: Path, adapter: str) -> None:
    kills, settings = KILLS[adapter], kafka_settings(tmp_path) if adapter == "kafka" else {}
    generator = random.Random(20)
    streamer, caller, reader = Writer(STREAMER, generator), Writer(CALLER, generator), Reader()
    acknowledged_lives = 0
    for life in range(kills):
        before = streamer.acknowledged + caller.acknowledged
        process = FeedbackProcess(tmp_path, **settings)
        goal = before + generator.randint(0, 3 * MOST_EVENTS)

        def lived_enough(goal: int = goal) -> bool:
            return streamer.acknowledged + caller.acknowledged >= goal

        moment = Moment(lived_enough, generator.random() * LATEST_S)
        await live(process, moment, (streamer.stream, caller.call, reader.follow), life)
        acknowledged_lives += streamer.acknowledged + caller.acknowledged > before

    async with DURABLE[adapter](tmp_path) as log:
        found = [record.fact for record in await records(log)]
        for writer in (streamer, caller):
            mine = [fact for fact in found if isinstance(fact, Event) and fact.user_id == writer.user_id]
            assert mine == [numbered(writer.user_id, number) for number in range(len(mine))]
            assert writer.acknowledged <= len(mine) <= writer.sent
            read = [fact for fact in reader.seen if fact.user_id == writer.user_id]
            assert read == mine[: len(read)]

        head = await log.head()
        await log.append([numbered(STREAMER, number) for number in range(streamer.acknowledged)])
        assert await log.head() == head

    assert acknowledged_lives > kills // 3
    assert len(reader.seen) > len(found) // 3


@dataclass(frozen=True)
class Moment:
    """When a process dies: so many acknowledgements after it began, and a little later, however slow the machine is."""

    come: Callable[[], bool]
    later_s: float

    async def wait(self, talking: Sequence[asyncio.Task[None]]) -> None:
        """Until it is there, or nobody talks any more."""
        while not self.come() and not all(task.done() for task in talking):
            await asyncio.sleep(0.001)
        await asyncio.wait(talking, timeout=self.later_s)


async def live(process: FeedbackProcess, moment: Moment, talks: tuple[object, ...], number: int) -> None:
    """One life of the process: it starts, is talked to, and dies after a while; every fifth dies while it starts."""
    address = asyncio.create_task(process.address())
    if number % 5 == 4:
        await asyncio.wait([address], timeout=moment.later_s)
        await process.kill()
        await asyncio.gather(address, return_exceptions=True)
        return
    async with open_channel(await address) as channel:
        client = GrpcFeedback(channel)
        talking = [asyncio.create_task(_until_broken(talk(client))) for talk in talks]  # type: ignore[operator]
        await moment.wait(talking)
        await process.kill()
        await asyncio.gather(*talking)


async def _until_broken(talk: object) -> None:
    with suppress(ServiceError):
        await talk  # type: ignore[misc]


def numbered(user_id: str, number: int) -> Event:
    """Event `number` of a writer."""
    return event(number, user_id=user_id, event_id=f"{user_id}-{number}")


def _number(each: Event) -> int:
    return int(each.event_id.rpartition("-")[2])
