"""A producer that is faster than the disk is slowed by its stream, not by the service's memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.domain.event_log import EventLog
from shared.domain.events import Event
from tests.contract.event_log_adapters import event, records
from tests.integration.feedback.service import serving

BATCHES, BATCH = 160, 200
LARGE = {"session_id": "s" * 120, "target_id": "t" * 120, "recommendation_id": "r" * 120, "surface": "u" * 60}
"""Makes 90 kB of a batch."""
LIMIT_BYTES = 1 << 20


@contextmanager
def stalled_disk(log: EventLog) -> Iterator[threading.Event]:
    """A disk that does not answer until the event is set."""
    answers = threading.Event()
    log._commits._thread.submit(answers.wait, 60)  # type: ignore[attr-defined]
    try:
        yield answers
    finally:
        answers.set()


async def test_a_stalled_disk_stops_the_producer_and_everything_is_acknowledged_afterwards(tmp_path: Path) -> None:
    taken = 0
    async with serving(tmp_path / "data", waiting_bytes=LIMIT_BYTES) as service:

        async def batches() -> AsyncIterator[list[Event]]:
            nonlocal taken
            for row in range(BATCHES):
                taken += 1
                yield [event(BATCH * row + each, **LARGE) for each in range(BATCH)]

        async def stream() -> list[int]:
            return [len(recorded.refused) async for recorded in service.client.stream_events(batches())]

        with stalled_disk(service.app.log) as answers:
            streaming = asyncio.create_task(stream())
            finished, _ = await asyncio.wait([streaming], timeout=3)
            taken_meanwhile, waiting = taken, service.app.log._commits._room.taken  # type: ignore[attr-defined]
            answers.set()

            assert finished == set()
            assert taken_meanwhile < BATCHES // 2, taken_meanwhile
            assert waiting <= LIMIT_BYTES
        acknowledged = await streaming

        assert acknowledged == [0] * BATCHES
        assert len(await records(service.app.log)) == BATCHES * BATCH
