"""However many events go through a stream, the service's process stays as large as it was."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from shared.clients.feedback import GrpcFeedback
from shared.domain.events import Event
from shared.kernel.client import open_channel
from tests.contract.event_log_adapters import event
from tests.integration.feedback.killable import FeedbackProcess

BATCH, USERS = 500, 1_000
BATCHES = 2_000 if os.environ.get("WINNOW_SOAK") else 120
FIRST_BATCHES = 40
"""In which queues, caches and the memory of Python's allocator reach their size."""
LARGE = {"session_id": "s" * 120, "target_id": "t" * 120, "recommendation_id": "r" * 120, "surface": "u" * 60}
GROWTH_KIB = 24 << 10
"""The events behind the first batches are 40,000 or more, and a kilobyte each in memory."""


async def batches() -> AsyncIterator[list[Event]]:
    """A producer that is always ready with the next batch."""
    for start in range(0, BATCHES * BATCH, BATCH):
        yield [event(number, f"user-{number % USERS}", **LARGE) for number in range(start, start + BATCH)]


async def test_a_stream_of_many_events_leaves_the_memory_of_the_process_flat(tmp_path: Path) -> None:
    process = FeedbackProcess(tmp_path / "data", ids_in_memory=4_096, waiting_bytes=1 << 20)
    sizes = []
    try:
        async with open_channel(await process.address()) as channel:
            await channel.channel_ready()
            async for recorded in GrpcFeedback(channel).stream_events(batches()):
                assert recorded.refused == {}
                sizes.append(process.memory_kib())
    finally:
        await process.kill()

    before, after = max(sizes[:FIRST_BATCHES]), max(sizes[FIRST_BATCHES:])
    print(f"{BATCHES * BATCH} events: {before} KiB after the first {FIRST_BATCHES * BATCH}, {after} KiB at most since")
    assert len(sizes) == BATCHES
    assert after - before < GROWTH_KIB, sizes[:: max(1, BATCHES // 20)]
