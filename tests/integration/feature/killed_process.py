"""A process that lives to be killed: it appends events about all kinds of things and applies them, without an end.

Run as `python -m tests.integration.feature.killed_process FOLDER SETTINGS`, settings of the feature service as JSON; it
prints a line for each batch that was accepted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import numpy as np

from shared.domain.event_log import Fact
from shared.domain.events import EventType
from shared.domain.items import Item
from tests.integration.feature.embedded import embedded
from tests.unit.feature.world import NOW_MS, event, slate

KINDS = (EventType.CLICK, EventType.LIKE, EventType.HIDE, EventType.IMPRESSION)


def facts(random: np.random.Generator, tag: str) -> list[Fact]:
    """Thirty events, an item and a slate."""
    made: list[Fact] = []
    for number in range(30):
        user_id, item_id = f"user-{random.integers(40)}", f"i{random.integers(60)}"
        at_ms = NOW_MS - int(random.integers(30 * 86_400_000))
        kind = KINDS[random.integers(len(KINDS))]
        made.append(event(user_id, item_id, kind, at_ms=at_ms, event_id=f"{tag}-{number}"))
    made.append(Item(f"i{random.integers(60)}", categories=(f"c{random.integers(5)}",)))
    made.append(slate(f"user-{random.integers(40)}", ["i1", "i2"], recommendation_id=f"{tag}-slate"))
    return made


async def run(folder: Path, store: dict[str, str]) -> None:
    """Append for ever; every hundredth batch erases a user."""
    random = np.random.default_rng(os.getpid())
    async with embedded(folder, batch_records=7, pending_rows=50, **store) as services:
        turn = 0
        while True:
            turn += 1
            await services.feedback.log.append(facts(random, f"{os.getpid()}-{turn}"))
            if not turn % 20:
                await services.feedback.log.erase(f"user-{random.integers(40)}")
            sys.stdout.write(f"{turn}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), json.loads(sys.argv[2])))
