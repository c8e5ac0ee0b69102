"""A write-ahead file with a torn end: the log is what was written before, batch by batch, and goes on from there."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from shared.domain.event_log import EventLog
from shared.domain.events import Event
from shared.kernel.errors import ErrorReason, ServiceError
from tests.contract.event_log_adapters import event, events_of, open_sqlite, records

BATCHES = [[event(100 * row + each, surface="s" * 60) for each in range(12)] for row in range(12)]
WRITE_AHEAD = "feedback/log.db-wal"


@pytest.fixture
async def files(tmp_path: Path) -> dict[str, bytes]:
    """The files of a log whose process was killed: every batch stands in the write-ahead file only."""
    async with open_sqlite(tmp_path / "killed") as log:
        for batch in BATCHES:
            await log.append(batch)
        folder = tmp_path / "killed"
        return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def laid_out(files: dict[str, bytes], folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


async def found_in(folder: Path) -> list[Event]:
    async with open_sqlite(folder) as log:
        return await events_of(log, "ada")


async def test_everything_acknowledged_is_there_after_a_kill(files: dict[str, bytes], tmp_path: Path) -> None:
    assert await found_in(laid_out(files, tmp_path / "again")) == [each for batch in BATCHES for each in batch]


async def test_wherever_the_end_is_torn_off_whole_batches_are_left(files: dict[str, bytes], tmp_path: Path) -> None:
    whole = files[WRITE_AHEAD]
    generator = random.Random(7)
    lengths = set()
    for number, cut in enumerate(sorted(generator.randrange(len(whole)) for _ in range(25))):
        found = await found_in(laid_out(files | {WRITE_AHEAD: whole[:cut]}, tmp_path / f"cut-{number}"))

        count = len(found) // len(BATCHES[0])
        assert found == [each for batch in BATCHES[:count] for each in batch]
        lengths.add(count)

    assert len(lengths) > 3


@pytest.mark.parametrize("torn", [b"\0" * 5_000, b"\xff" * 5_000, bytes(range(256)) * 20])
async def test_rubbish_behind_the_end_is_not_read(files: dict[str, bytes], tmp_path: Path, torn: bytes) -> None:
    folder = laid_out(files | {WRITE_AHEAD: files[WRITE_AHEAD] + torn}, tmp_path / "again")

    assert await found_in(folder) == [each for batch in BATCHES for each in batch]


async def test_a_batch_that_was_torn_off_can_be_sent_again(files: dict[str, bytes], tmp_path: Path) -> None:
    folder = laid_out(files | {WRITE_AHEAD: files[WRITE_AHEAD][:-100]}, tmp_path / "again")

    async with open_sqlite(folder) as log:
        assert len(await events_of(log, "ada")) == 12 * 11
        for batch in BATCHES:
            await log.append(batch)

        assert await events_of(log, "ada") == [each for batch in BATCHES for each in batch]


async def test_a_changed_bit_in_a_record_is_an_error_that_names_the_record(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path) as log:
        await log.append([event(number) for number in range(3)])
        payload = _payload(log, offset=2)
    database = tmp_path / "feedback" / "log.db"
    content = database.read_bytes()
    assert content.count(payload) == 1
    database.write_bytes(content.replace(payload, payload[:-1] + bytes([payload[-1] ^ 1])))

    async with open_sqlite(tmp_path) as log:
        with pytest.raises(ServiceError) as told:
            await records(log)

    assert told.value.reason is ErrorReason.STORAGE_UNAVAILABLE
    assert f"record 2 of {database} is damaged" in told.value.message


def _payload(log: EventLog, offset: int) -> bytes:
    database = log._writer._connection  # type: ignore[attr-defined]
    payload: bytes = database.execute("SELECT payload FROM log WHERE log_offset = ?", (offset,)).fetchone()[0]
    return payload
