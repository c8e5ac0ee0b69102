"""An erased user leaves no byte in any file of the store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from services.feature.sqlite_store import open_sqlite_store
from shared.domain.event_log import Fact
from shared.domain.items import User
from shared.domain.watermark import Watermark
from tests.fakes import MemoryLog
from tests.integration.feature.embedded import embedded, scrubbed, store_path, until
from tests.unit.feature.world import NOW_MS, Room, clock, event, running, slate

VICTIMS = [f"victim-{number:02d}" for number in range(12)]


def traces(user_id: str) -> list[str]:
    """What only this user's facts contain."""
    return [user_id, f"secret-item-of-{user_id}", f"event-of-{user_id}", f"interest-of-{user_id}"]


def story(random: np.random.Generator, turn: int) -> list[Fact]:
    """Facts of victims and others in turn, so that they share pages of the file."""
    made: list[Fact] = []
    for number in range(40):
        user_id = VICTIMS[random.integers(len(VICTIMS))] if number % 2 else f"other-{random.integers(200)}"
        item_id, shared = f"secret-item-of-{user_id}", f"i{random.integers(50)}"
        at_ms = NOW_MS - int(random.integers(10**10))
        made.append(event(user_id, item_id, at_ms=at_ms, event_id=f"event-of-{user_id}-{turn}-{number}"))
        made.append(event(user_id, shared, at_ms=at_ms, event_id=f"event-of-{user_id}-{turn}-{number}-shared"))
        made.append(User(user_id, (f"interest-of-{user_id}",)))
    if turn % 2:  # as many as are remembered of a user: of earlier ones the items' counts stay, and say nobody's name
        made.append(slate(VICTIMS[0], [f"secret-item-of-{VICTIMS[0]}"], recommendation_id=f"slate-{turn}"))
    return made


def found(folder: Path, words: Sequence[str]) -> dict[str, list[str]]:
    """Files that hold any of the words."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    held = {path.name: [word for word in words if word.encode() in path.read_bytes()] for path in files}
    return {name: there for name, there in held.items() if there}


async def test_no_byte_of_erased_users_is_left_in_the_stores_files(tmp_path: Path) -> None:
    log, random = MemoryLog(clock), np.random.default_rng(1)
    async with open_sqlite_store(tmp_path / "features.db") as store:
        room = await Room.open(store)
        for turn in range(100):
            start = len(log.records)
            await log.append(story(random, turn))
            await room.take(log.records[start:])
            await room.writer.flush()
        subjects = [log.subject(user_id) for user_id in VICTIMS]
        before = found(tmp_path, [*traces(VICTIMS[0]), subjects[0]])

        start = len(log.records)
        for user_id in VICTIMS:
            await log.erase(user_id)
        await room.take(log.records[start:])
        await store.scrub()

        words = [*subjects, *(word for user_id in VICTIMS for word in traces(user_id))]
        assert set().union(*before.values()) == {*traces(VICTIMS[0]), subjects[0]}
        assert found(tmp_path, words) == {}
        assert found(tmp_path, ["event-of-other-1"]) != {}


async def test_the_running_service_cleans_its_files_by_itself(tmp_path: Path) -> None:
    async with embedded(tmp_path) as services:
        await services.state("nobody", await services.feedback.log.append(story(np.random.default_rng(2), 0)))
        await services.feature.dump()
        before = found(tmp_path / "feature", traces(VICTIMS[0]))

        receipt = await services.feedback.intake.erase_user(VICTIMS[0])
        await services.state("nobody", receipt.watermark)
        await until(lambda: scrubbed(tmp_path, receipt.watermark))

        assert before != {}
        assert found(tmp_path, traces(VICTIMS[0])) == {}
        assert len((await services.state(VICTIMS[0])).history) == 0


async def test_a_service_that_died_before_cleaning_cleans_at_its_next_start(tmp_path: Path) -> None:
    log = MemoryLog(clock)
    await log.append(story(np.random.default_rng(3), 0))
    async with open_sqlite_store(store_path(tmp_path)) as store:
        room = await Room.open(store)
        await room.take(log.records)
        await log.erase(VICTIMS[0])
        await room.take(log.records[-1:])
        assert await store.needs_scrub()

    async with running(tmp_path, log):
        await until(lambda: scrubbed(tmp_path, Watermark.of(len(log.records))))

    assert found(tmp_path, traces(VICTIMS[0])) == {}


async def test_the_counts_forget_the_user_too(tmp_path: Path) -> None:
    async with embedded(tmp_path) as services:
        await services.feedback.log.append([event("anna", "i1"), event("other", "i1"), event("anna", "i2")])
        receipt = await services.feedback.intake.erase_user("anna")
        await services.state("nobody", receipt.watermark)

        shared, alone = await services.feature.features.items(["i1", "i2"])

    assert (shared.popularity, shared.trend) == (1.0, 1.0)
    assert (alone.popularity, alone.trend) == (0.0, 0.0)
