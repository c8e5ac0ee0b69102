"""A log that cannot be opened says in one sentence what is wrong, where, and what to do."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from services.feedback.sqlite_database import cannot_open
from shared.kernel.config import ConfigError
from tests.contract.event_log_adapters import event, open_sqlite, records
from tests.integration.feedback.small_disk import make_read_only, mount, unmount

ROOT = Path(__file__).parents[3]


async def problem_of(folder: Path) -> str:
    """Why the log of a data folder does not open."""
    with pytest.raises(ConfigError) as refused:
        async with open_sqlite(folder):
            pass
    (problem,) = refused.value.problems
    return str(problem)


async def written(folder: Path) -> Path:
    """A log with a few pages of records; its database."""
    async with open_sqlite(folder) as log:
        await log.append([event(number, surface="s" * 60) for number in range(200)])
    return folder / "feedback" / "log.db"


async def test_a_data_folder_in_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    problem = await problem_of(tmp_path / "missing" / "data")

    assert f"WINNOW_DATA_DIR={tmp_path / 'missing' / 'data'}" in problem
    assert "make it or set WINNOW_DATA_DIR" in problem


async def test_a_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")

    problem = await problem_of(tmp_path / "data")

    assert str(tmp_path / "data" / "feedback") in problem
    assert "set WINNOW_DATA_DIR" in problem


async def test_a_disk_that_is_read_only(tmp_path: Path) -> None:
    mount(tmp_path, 1 << 20)
    make_read_only(tmp_path)
    try:
        problem = await problem_of(tmp_path / "data")
    finally:
        unmount(tmp_path)

    assert str(tmp_path / "data" / "feedback") in problem
    assert "set WINNOW_DATA_DIR to a folder that can be written" in problem


async def test_an_old_log_on_a_disk_that_became_read_only(tmp_path: Path) -> None:
    mount(tmp_path, 1 << 20)
    await written(tmp_path / "data")
    make_read_only(tmp_path)
    try:
        problem = await problem_of(tmp_path / "data")
    finally:
        unmount(tmp_path)

    assert str(tmp_path / "data" / "feedback") in problem
    assert "can be written" in problem


async def test_a_disk_that_is_full_from_the_beginning(tmp_path: Path) -> None:
    if mount(tmp_path, 8 << 10):
        try:
            problem = await problem_of(tmp_path)
        finally:
            unmount(tmp_path)
    else:
        problem = cannot_open(tmp_path / "feedback" / "log.db", full())

    assert str(tmp_path / "feedback") in problem
    assert "full" in problem


def full() -> sqlite3.Error:
    """What SQLite says when there is no room."""
    with pytest.raises(sqlite3.OperationalError) as refused:
        sqlite3.connect(":memory:").executescript("PRAGMA max_page_count = 1; CREATE TABLE t (x); CREATE TABLE u (x)")
    return refused.value


@pytest.mark.parametrize("content", [b"this is no database" * 400, bytes(8192)])
async def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    database = await written(tmp_path)
    database.write_bytes(content)

    problem = await problem_of(tmp_path)

    assert str(database) in problem
    assert "restore it from a backup, or move the folder" in problem


async def test_a_database_that_was_cut_short(tmp_path: Path) -> None:
    database = await written(tmp_path)
    database.write_bytes(database.read_bytes()[:-4096])

    problem = await problem_of(tmp_path)

    assert str(database) in problem
    assert "is damaged" in problem


async def test_a_database_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "feedback").mkdir()
    with sqlite3.connect(tmp_path / "feedback" / "log.db") as other:
        other.execute("CREATE TABLE accounts (name TEXT)")
    other.close()

    assert "is not an event log of Winnow" in await problem_of(tmp_path)


async def test_a_log_of_a_newer_release(tmp_path: Path) -> None:
    database = await written(tmp_path)
    with sqlite3.connect(database) as newer:
        newer.execute("PRAGMA user_version = 9")
    newer.close()

    assert "has format 9, this release reads 1" in await problem_of(tmp_path)


async def test_a_log_that_another_process_has(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path):
        problem = await problem_of(tmp_path)

    assert f"is in use by process {os.getpid()}" in problem
    assert "stop that process" in problem


async def test_a_log_is_free_again_when_its_process_has_closed_it(tmp_path: Path) -> None:
    async with open_sqlite(tmp_path) as log:
        await log.append([event(1)])

    async with open_sqlite(tmp_path) as log:
        assert len(await records(log)) == 1


def test_a_process_that_cannot_start_prints_the_problem_and_nothing_else(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "data"

    ended = subprocess.run(
        [sys.executable, "-m", "services.feedback"],
        cwd=ROOT,
        env=os.environ | {"WINNOW_DATA_DIR": str(missing), "PYTHONPATH": f"{ROOT}:{ROOT / 'shared/stubs'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"winnow: WINNOW_DATA_DIR={missing}")
