"""The feature store in one SQLite file.

WAL with `synchronous=NORMAL`: a commit that a power cut takes away is applied from the log again, because the position
goes with it. One thread writes and one reads, so that a reader never waits for a long commit.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from services.feature import sqlite_schema as schema
from services.feature.rows import expiry_from_text, expiry_to_text, windows_from_bytes, windows_to_bytes
from services.feature.sqlite_file import (
    connect,
    locked,
    make_tables,
    meta,
    open_file,
    scrub_file,
    set_meta,
    storage_error,
    transaction,
)
from services.feature.store import Changes, StoredCounts, StoredEvent, StoredItem, UserHistory
from shared.domain.expiry import Expiry
from shared.domain.history import HISTORY_LIMIT
from shared.domain.watermark import Watermark

PAGE_USERS = 500
"""Users that `all_users` reads at a time."""
PAGE = """
SELECT page.user_id, subject, facts, profile, events
FROM (SELECT * FROM users WHERE user_id > ? ORDER BY user_id LIMIT ?) AS page
LEFT JOIN events ON events.user_id = page.user_id ORDER BY page.user_id
"""

Answer = TypeVar("Answer")


@asynccontextmanager
async def open_sqlite_store(path: Path) -> AsyncIterator[SqliteFeatureStore]:
    """Open or make the store.

    Raises:
        ConfigError: the file cannot be used; the message says why.
    """
    with (
        locked(path),
        ThreadPoolExecutor(1, "feature-write") as writing,
        ThreadPoolExecutor(1, "feature-read") as reading,
    ):
        loop = asyncio.get_running_loop()
        writer = await loop.run_in_executor(writing, open_file, path)
        reader = await loop.run_in_executor(reading, connect, path)
        try:
            yield SqliteFeatureStore(path, _Lane(writer, writing, path), _Lane(reader, reading, path))
        finally:
            await loop.run_in_executor(reading, reader.close)
            await loop.run_in_executor(writing, writer.close)


class SqliteFeatureStore:
    """`FeatureStore` in a file; opened by `open_sqlite_store`."""

    def __init__(self, path: Path, writer: _Lane, reader: _Lane) -> None:
        self.path = path
        self.moved = asyncio.Event()
        self._writer = writer
        self._reader = reader

    async def resume(self) -> None:
        """It never moves: the file is locked."""

    async def position(self) -> Watermark:
        """The position of the last commit."""
        return Watermark.parse((await self._reader.run(lambda db: meta(db, "position"))).decode())

    async def expiry(self) -> Expiry:
        """What retention had taken out at the last commit."""
        rows = await self._reader.rows("SELECT value FROM meta WHERE name = 'expiry'")
        return expiry_from_text(rows[0][0]) if rows else Expiry()

    async def commit(self, changes: Changes) -> None:
        """Write rows and position in one transaction."""
        await self._writer.run(lambda db: _commit(db, changes))

    async def scrub(self) -> None:
        """Rebuild the file without anything that is not in a table, then empty the WAL."""
        await self._writer.run(scrub_file)

    async def needs_scrub(self) -> bool:
        """Whether a user was erased since the last `scrub`."""
        return bool(await self._reader.run(lambda db: meta(db, "scrub")))

    async def users(self, user_ids: Sequence[str]) -> list[UserHistory]:
        """Those of the users that are known, with their latest events."""
        return await self._reader.run(lambda db: [user for each in user_ids for user in _users(db, each)])

    async def user_id_of(self, subject: str) -> str | None:
        """The user that has this pseudonym."""
        rows = await self._reader.rows("SELECT user_id FROM users WHERE subject = ?", subject)
        return rows[0][0] if rows else None

    async def events_of(self, user_id: str) -> list[StoredEvent]:
        """Every event that is kept of a user."""
        return await self._reader.run(lambda db: _events(db, user_id))

    async def count_users(self) -> int:
        """How many users are kept."""
        return int((await self._reader.rows("SELECT count(*) FROM users"))[0][0])

    async def all_users(self, *, whole: bool = False) -> AsyncIterator[UserHistory]:
        """Every user in the order of ids, a page a query."""
        last = ""
        while page := await self._reader.run(partial(_page, last, 0 if whole else -HISTORY_LIMIT)):
            for user in page:
                yield user
            last = page[-1].user.user_id

    async def all_items(self) -> list[StoredItem]:
        """Every item with content or a place in the log."""
        return [schema.item_from_columns(row) for row in await self._reader.rows("SELECT * FROM items")]

    async def all_counts(self) -> list[StoredCounts]:
        """The counts of every item about which there are events."""
        rows = await self._reader.rows("SELECT * FROM counts")
        return [StoredCounts(item_id, windows_from_bytes(windows)) for item_id, windows in rows]

    async def page_token_key(self) -> bytes:
        """A secret of 32 bytes."""
        return await self._reader.run(lambda db: meta(db, "page_token_key"))

    async def clear(self) -> None:
        """Forget everything and make the tables anew."""
        await self._writer.run(make_tables)


class _Lane:
    """One connection and the thread that it is used in."""

    def __init__(self, db: sqlite3.Connection, thread: ThreadPoolExecutor, path: Path) -> None:
        self._db = db
        self._thread = thread
        self._path = path

    async def run(self, work: Callable[[sqlite3.Connection], Answer]) -> Answer:
        """Do work on the connection; its errors name the file."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._db)
        except sqlite3.Error as error:
            raise storage_error(self._path, error) from error

    async def rows(self, query: str, *parameters: str | int) -> list[schema.Row]:
        """All rows of a query."""
        return await self.run(lambda db: db.execute(query, parameters).fetchall())


def _commit(db: sqlite3.Connection, changes: Changes) -> None:
    with transaction(db):
        _erase(db, changes)
        users = [change.user for change in changes.users]
        db.executemany("INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?)", map(schema.user_columns, users))
        added = [schema.events_columns(change) for change in changes.users if change.events]
        db.executemany("INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?)", added)
        kept = [(change.user.user_id, change.keep_from_ms) for change in changes.users if change.keep_from_ms]
        db.executemany("DELETE FROM events WHERE user_id = ? AND latest_ms < ?", kept)
        db.executemany(
            "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(schema.item_columns, changes.items)
        )
        counts = [(each.item_id, windows_to_bytes(each.windows)) for each in changes.counts]
        db.executemany("INSERT OR REPLACE INTO counts VALUES (?, ?)", counts)
        if changes.expiry:
            text = expiry_to_text(changes.expiry).encode()
            db.execute("INSERT OR REPLACE INTO meta VALUES ('expiry', ?)", (text,))
        set_meta(db, "position", str(changes.position).encode())


def _erase(db: sqlite3.Connection, changes: Changes) -> None:
    users = [(user_id,) for user_id in changes.erased_user_ids]
    db.executemany("DELETE FROM users WHERE user_id = ?", users)
    db.executemany("DELETE FROM events WHERE user_id = ?", users)
    db.executemany("DELETE FROM counts WHERE item_id = ?", [(item_id,) for item_id in changes.dropped_item_ids])
    if users:
        set_meta(db, "scrub", b"wanted")


def _users(db: sqlite3.Connection, user_id: str) -> Iterator[UserHistory]:
    for row in db.execute("SELECT * FROM users WHERE user_id = ?", (user_id,)).fetchall():
        yield UserHistory(schema.user_from_columns(row), tuple(_events(db, user_id)[-HISTORY_LIMIT:]))


def _page(last: str, first_event: int, db: sqlite3.Connection) -> list[UserHistory]:
    """The users behind an id, each with the events from a place of its list on."""
    found = []
    for user, group in groupby(db.execute(PAGE, (last, PAGE_USERS)), itemgetter(slice(0, 4))):
        events = schema.events_from_rows((events,) for *_, events in group if events is not None)
        found.append(UserHistory(schema.user_from_columns(user), tuple(events[first_event:])))
    return found


def _events(db: sqlite3.Connection, user_id: str) -> list[StoredEvent]:
    return schema.events_from_rows(db.execute("SELECT events FROM events WHERE user_id = ?", (user_id,)))
