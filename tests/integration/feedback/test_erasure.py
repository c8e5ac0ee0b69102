"""After an erasure no file holds what was written about the user: neither their id nor a payload nor their key."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag

from services.feedback.record_codec import unseal
from services.feedback.sqlite_database import transaction
from shared.domain.event_log import EventLog
from shared.domain.items import Item, User
from shared.domain.watermark import Watermark
from shared.kernel.errors import ErrorReason, ServiceError
from tests.contract.event_log_adapters import event, open_sqlite, records, slate

USER = "user-zzyzx-4711"
SECRETS = ("item-only-zzyzx-saw", "session-zzyzx", "interest-zzyzx", "r-zzyzx", "event-zzyzx")


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    async with open_sqlite(tmp_path) as opened:
        yield opened


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def holding(folder: Path, text: str | bytes) -> list[str]:
    """The files in which a text stands."""
    wanted = text.encode() if isinstance(text, str) else text
    return [name for name, content in contents(folder).items() if wanted in content]


async def write_about(log: EventLog, user_id: str, start: int = 0) -> None:
    """A life: events, a profile, a slate."""
    fields = {"item_id": SECRETS[0], "session_id": SECRETS[1]}
    events = [event(start + number, user_id=user_id, **fields) for number in range(50)]
    await log.append([*events, User(user_id, (SECRETS[2],)), slate(SECRETS[3] + str(start), user_id=user_id)])


def stored_key(log: EventLog, subject: str) -> bytes:
    """The key under a pseudonym, as it stands in the database."""
    rows = log._writer._connection.execute(  # type: ignore[attr-defined]
        "SELECT key FROM keys WHERE subject = ?", (subject,)
    )
    key: bytes = rows.fetchone()[0]
    return key


@contextmanager
def other_reader(folder: Path, file: str = "log.db") -> Iterator[None]:
    """Another program that has begun to read the database and does not end."""
    connection = sqlite3.connect(folder / "feedback" / file, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM keys").fetchone()
    try:
        yield
    finally:
        connection.close()


async def test_ids_and_payloads_of_users_stand_in_no_file_even_before(log: EventLog, tmp_path: Path) -> None:
    await write_about(log, USER)

    for text in (USER, *SECRETS):
        assert holding(tmp_path, text) == []


async def test_the_catalogue_stands_in_the_clear(log: EventLog, tmp_path: Path) -> None:
    await log.append([Item("x", title="A title that anybody may read")])

    assert holding(tmp_path, "A title that anybody may read") != []


async def test_the_key_leaves_every_file_at_once(log: EventLog, tmp_path: Path) -> None:
    await write_about(log, "somebody-else", start=1_000)
    await write_about(log, USER)
    subject = (await records(log))[-1].subject
    key = stored_key(log, subject)
    user_hash = log._hashes.user(USER)  # type: ignore[attr-defined]
    assert holding(tmp_path, key) != []
    assert holding(tmp_path, user_hash) != []

    await log.erase(USER)

    assert holding(tmp_path, key) == []
    assert holding(tmp_path, user_hash) == []
    for text in (USER, *SECRETS):
        assert holding(tmp_path, text) == []


async def test_what_is_left_of_the_payloads_opens_under_no_key_of_the_log(log: EventLog, tmp_path: Path) -> None:
    await write_about(log, USER)
    await write_about(log, "somebody-else", start=1_000)
    key_row = log._writer.identity(USER).key_row  # type: ignore[attr-defined]
    await log.erase(USER)

    database = log._writer._connection  # type: ignore[attr-defined]
    sealed = [row[0] for row in database.execute("SELECT payload FROM log WHERE form = 1 AND key_row = ?", (key_row,))]
    keys = [row[0] for row in database.execute("SELECT key FROM keys")]
    assert (len(sealed), len(keys)) == (52, 2)
    for key in keys:
        for payload in sealed:
            with pytest.raises(InvalidTag):
                unseal(key, payload)


async def test_nothing_of_many_erased_users_stays_in_a_page_that_was_split(log: EventLog, tmp_path: Path) -> None:
    names = [f"user-{os.urandom(8).hex()}" for _ in range(2_000)]
    for start in range(0, 2_000, 100):
        await log.append([event(row, user_id=names[row]) for row in range(start, start + 100)])
    keys = [stored_key(log, record.subject) for record in (await records(log))[::20]]

    for name in names[::20]:
        await log.erase(name)

    files = contents(tmp_path).values()
    assert [key for key in keys if any(key in content for content in files)] == []
    assert [name for name in names if any(name.encode() in content for content in files)] == []


async def test_an_erasure_that_was_cut_off_before_the_files_were_cleaned_is_finished_at_the_next_start(
    tmp_path: Path,
) -> None:
    async with open_sqlite(tmp_path) as log:
        await write_about(log, USER)
        key = stored_key(log, (await records(log))[-1].subject)
        log._writer._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[attr-defined]
        await write_about(log, USER, start=500)
        identity = log._writer.identity(USER)  # type: ignore[attr-defined]
        with transaction(log._writer._connection):  # type: ignore[attr-defined]
            log._writer._keys.destroy(USER, identity)  # type: ignore[attr-defined]
        files = {name: content for name, content in contents(tmp_path).items() if "lock" not in name}

    crashed = tmp_path / "crashed"
    for name, content in files.items():
        (crashed / name).parent.mkdir(parents=True, exist_ok=True)
        (crashed / name).write_bytes(content)
    assert holding(crashed, key) != []
    async with open_sqlite(crashed) as log:
        assert holding(crashed, key) == []
        assert {record.fact for record in await records(log)} == {None}


async def stopped_in_the_search(folder: Path, kill: bool) -> None:
    """A process that erases the user and ends before it has counted what that removed."""
    program = f"""
import asyncio, os, sys
from pathlib import Path
from tests.contract.event_log_adapters import open_sqlite
from services.feedback.sqlite_reader import SqliteReader

async def never(self, key_row, through):
    print("searching", flush=True)
    if {kill}:
        os.kill(os.getpid(), 9)
    raise asyncio.CancelledError  # as when the service stops

async def main():
    SqliteReader.held = never
    async with open_sqlite(Path(sys.argv[1])) as log:
        await log.erase({USER!r})

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(folder), stdout=PIPE, stderr=DEVNULL
    )
    printed, _ = await process.communicate()
    assert printed == b"searching\n"


@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
async def test_the_receipt_of_a_process_that_ended_during_the_search_is_given_by_the_next_one(
    tmp_path: Path, kill: bool
) -> None:
    async with open_sqlite(tmp_path) as log:
        await write_about(log, USER)
        await log.append([event(900)])
    await stopped_in_the_search(tmp_path, kill)

    async with open_sqlite(tmp_path) as log:
        assert [record.fact for record in await records(log)][:52] == [None] * 52
        receipt = await log.erase(USER)
        again = await log.erase(USER)

        assert receipt is not None
        assert (receipt.records, receipt.watermark, receipt.first) == (52, await log.head(), Watermark.of(1))
        assert again is None
    async with open_sqlite(tmp_path) as log:
        assert await log.erase(USER) is None


async def test_who_came_back_after_a_search_that_a_restart_ended_has_both_lives_in_the_receipt(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path) as log:
        await write_about(log, USER)
    await stopped_in_the_search(tmp_path, kill=True)

    async with open_sqlite(tmp_path) as log:
        await log.append([event(950, user_id=USER)])
        receipt = await log.erase(USER)

        assert receipt is not None
        assert (receipt.records, receipt.watermark, receipt.first) == (53, await log.head(), Watermark.of(1))


async def test_a_reader_that_holds_an_old_copy_makes_the_erasure_say_so_and_succeed_later(
    log: EventLog, tmp_path: Path
) -> None:
    await write_about(log, USER)
    key = stored_key(log, (await records(log))[-1].subject)
    log._writer._connection.execute("PRAGMA busy_timeout = 0")  # type: ignore[attr-defined]
    with other_reader(tmp_path):
        with pytest.raises(ServiceError) as told:
            await log.erase(USER)
        facts = [record.fact for record in await records(log)]

    assert told.value.reason is ErrorReason.STORAGE_UNAVAILABLE
    assert facts[:-1] == [None] * 52
    receipt = await log.erase(USER)
    assert receipt is not None
    assert receipt.records == 52
    assert await log.erase(USER) is None
    assert holding(tmp_path, key) == []
