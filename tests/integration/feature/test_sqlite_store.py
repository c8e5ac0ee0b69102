"""The store's file: across restarts, and when it cannot be used."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from services.feature.sqlite_schema import VERSION
from services.feature.sqlite_store import SqliteFeatureStore, open_sqlite_store
from services.feature.store import Changes, StoredUser, UserChange
from shared.domain.watermark import Watermark
from shared.kernel.config import ConfigError
from shared.kernel.errors import ErrorReason, ServiceError
from tests.fakes import MemoryLog
from tests.unit.feature.world import Room, clock, event


def big_user(number: int) -> UserChange:
    """A user with an event of ten kilobytes."""
    user = StoredUser(f"u{number}", f"s{number}", {}, {}, {}, ())
    return UserChange(user, [(1, number + 1, "i", 3, 0.0, "e" * 10_000)])


def limit_pages(store: SqliteFeatureStore, pages: int) -> None:
    """The file may not grow beyond this: what SQLite says then is what it says when the disk is full."""
    store._writer._db.execute(f"PRAGMA max_page_count = {pages}")


async def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    async with open_sqlite_store(tmp_path / "features.db") as store:
        await store.commit(Changes(Watermark.of(3), users=[big_user(1)]))
        key = await store.page_token_key()

    async with open_sqlite_store(tmp_path / "features.db") as store:
        assert await store.position() == Watermark.of(3)
        assert len(await store.events_of("u1")) == 1
        assert await store.page_token_key() == key


async def test_a_full_disk_refuses_the_whole_commit_and_takes_it_when_there_is_room(tmp_path: Path) -> None:
    changes = Changes(Watermark.of(9), users=[big_user(number) for number in range(50)])
    async with open_sqlite_store(tmp_path / "features.db") as store:
        await store.commit(Changes(Watermark.of(1), users=[big_user(99)]))
        limit_pages(store, 1)  # below the present size: SQLite takes the present size

        with pytest.raises(ServiceError) as caught:
            await store.commit(changes)
        position, users = await store.position(), await store.count_users()
        limit_pages(store, 1 << 30)
        await store.commit(changes)

        assert caught.value.reason == ErrorReason.STORAGE_FULL
        assert str(tmp_path) in caught.value.message
        assert (position, users) == (Watermark.of(1), 1)
        assert (await store.position(), await store.count_users()) == (Watermark.of(9), 51)


async def test_a_projection_on_a_full_disk_answers_on_and_stores_later(tmp_path: Path) -> None:
    log = MemoryLog(clock)
    async with open_sqlite_store(tmp_path / "features.db") as store:
        room = await Room.open(store)
        limit_pages(store, 1)
        await log.append([event("anna", "i" * 9_000)])
        await room.take(log.records)
        await room.writer.close()

        limit_pages(store, 1 << 30)
        await room.writer.flush()

        assert len(await store.events_of("anna")) == 1
        assert await store.position() == Watermark.of(1)


async def test_a_store_of_another_version_is_emptied_for_the_log_to_fill(tmp_path: Path) -> None:
    async with open_sqlite_store(tmp_path / "features.db") as store:
        await store.commit(Changes(Watermark.of(3), users=[big_user(1)]))
    db = sqlite3.connect(tmp_path / "features.db")
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()

    async with open_sqlite_store(tmp_path / "features.db") as store:
        assert await store.position() == Watermark()
        assert await store.count_users() == 0


async def test_a_second_process_is_refused_and_told_what_to_do(tmp_path: Path) -> None:
    async with open_sqlite_store(tmp_path / "features.db"):
        with pytest.raises(ConfigError, match=r"in use by another process.*WINNOW_DATA_DIR"):
            async with open_sqlite_store(tmp_path / "features.db"):
                pass


async def test_a_damaged_file_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "features.db"
    path.write_bytes(os.urandom(8_192))

    with pytest.raises(ConfigError, match=r"features\.db cannot be used.*delete the file"):
        async with open_sqlite_store(path):
            pass


async def test_a_folder_that_cannot_be_made_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "feature").write_text("a file stands where the folder should")

    with pytest.raises(ConfigError, match=r"feature/features\.db cannot be used"):
        async with open_sqlite_store(tmp_path / "feature" / "features.db"):
            pass


async def test_a_user_written_while_others_read_is_whole(tmp_path: Path) -> None:
    async with open_sqlite_store(tmp_path / "features.db") as store:
        await store.commit(Changes(Watermark.of(700), users=[big_user(number) for number in range(700)]))

        seen = 0
        async for found in store.all_users():
            if not seen % 100:
                await store.commit(Changes(Watermark.of(701 + seen), users=[big_user(seen)]))
            seen += 1
            assert len(found.events) == 1

    assert seen == 700
