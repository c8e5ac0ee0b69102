"""The databases of the logs: their tables, their connections, and what is checked before they are used.

WAL with `synchronous=FULL`: a commit is on the disk when it returns (https://sqlite.org/pragma.html#pragma_synchronous).
`secure_delete`: what is deleted is overwritten with zeros. Keys and everything else about a user are overwritten in
place by values of the same length, so that no copy is left in a page's unused bytes either.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.feedback.keyed_hash import draw_secret
from shared.kernel.config import ConfigError

FILE: Final = "log.db"
APPLICATION_ID: Final = 0x574E4C47
"""The bytes of `WNLG`."""
FORMAT: Final = 1
BUSY_TIMEOUT_MS: Final = 5_000
CHECKPOINT_PAGES: Final = 4_000

IDENTITIES: Final = """
CREATE TABLE keys (             -- one identity a row; erasing overwrites the key with zeros
    key_row INTEGER PRIMARY KEY,
    subject TEXT NOT NULL,
    key BLOB NOT NULL
) STRICT;
CREATE TABLE users (            -- present identities; no user id stands anywhere, only its keyed hash
    user_hash BLOB PRIMARY KEY,
    key_row INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
"""
LOG_TABLES: Final = """
CREATE TABLE log (              -- one fact a row; never updated, and deleted by retention only
    log_offset INTEGER PRIMARY KEY,     -- from 1: equals the watermark behind the record
    recorded_ms INTEGER NOT NULL,
    key_row INTEGER NOT NULL,           -- 0: about nobody
    form INTEGER NOT NULL,              -- see record_codec.py
    event_hash BLOB,                    -- keyed hash of the event's id, for rebuilding the set of seen ids
    payload BLOB NOT NULL
) STRICT;
CREATE TABLE slates (
    slate_hash BLOB PRIMARY KEY,
    log_offset INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class DatabaseForm:
    """One kind of database.

    Attributes:
        file: its name in the log's folder.
        application_id: what SQLite writes into the file's head.
        version: of the tables.
        tables: SQL that makes them, beside those of the identities.
        probe: a query that reads a little of what matters.
        noun: what it is, for messages.
    """

    file: str
    application_id: int
    version: int
    tables: str
    probe: str
    noun: str


LOG_FORM: Final = DatabaseForm(
    FILE,
    APPLICATION_ID,
    FORMAT,
    LOG_TABLES,
    "SELECT max(log_offset) FROM log, (SELECT max(key_row) FROM keys)",
    "an event log",
)


def open_database(folder: Path, form: DatabaseForm = LOG_FORM) -> sqlite3.Connection:
    """The writer's connection; makes the tables of a new log and empties the write-ahead file of an old one.

    Raises:
        ConfigError: the file is damaged, not a log, of a newer release, or cannot be written; names path and remedy.
    """
    path = folder / form.file
    try:
        with ExitStack() as on_failure:
            connection = connect(path)
            on_failure.callback(connection.close)
            _prepare(connection, path, form)
            on_failure.pop_all()
    except sqlite3.Error as error:
        raise ConfigError(cannot_open(path, error)) from error
    return connection


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode that may move between threads (one at a time).

    Raises:
        sqlite3.Error: the file cannot be opened.
    """
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA query_only = {int(read_only)}")
    if not read_only:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # of a new file; one that has tables stays as it is
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    return connection


def truncate_write_ahead(connection: sqlite3.Connection) -> bool:
    """Moves everything into the database file and empties the write-ahead file; False: a reader is in the way.

    Raises:
        sqlite3.Error: the disk fails.
    """
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything in the block, or nothing.

    Raises:
        sqlite3.Error: the disk is full or fails.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def secret_of(connection: sqlite3.Connection) -> bytes:
    """The secret under which ids are hashed."""
    row = connection.execute("SELECT value FROM secrets WHERE name = 'ids'").fetchone()
    secret: bytes = row[0]
    return secret


def cannot_open(path: Path, error: sqlite3.Error | OSError) -> str:
    """Why the log does not open, for the operator: path and remedy."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return f"the disk under {path} is full; free some space or set another WINNOW_DATA_DIR"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return f"{path} cannot be written ({error}); mount it writable or set another WINNOW_DATA_DIR"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"{path} is in use by another program ({error}); close it and start again"
    return f"{path} is damaged ({error}); restore it from a backup, or move the folder {path.parent} away to begin anew"


def _prepare(connection: sqlite3.Connection, path: Path, form: DatabaseForm) -> None:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if not tables:
        connection.executescript(f"BEGIN IMMEDIATE; {IDENTITIES} {form.tables}")
        connection.execute(f"PRAGMA application_id = {form.application_id}")
        connection.execute(f"PRAGMA user_version = {form.version}")
        connection.execute("INSERT INTO secrets VALUES ('ids', ?)", (draw_secret(),))
        connection.execute("COMMIT")
    elif found != form.application_id:
        raise ConfigError(f"{path} is not {form.noun} of Winnow; move it away or set another WINNOW_DATA_DIR")
    elif version != form.version:
        raise ConfigError(
            f"{path} has format {version}, this release reads {form.version}; use the release that wrote it"
        )
    truncate_write_ahead(connection)
    _check_length(connection, path)
    connection.execute(form.probe).fetchone()


def _check_length(connection: sqlite3.Connection, path: Path) -> None:
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
    if path.stat().st_size < pages * page_bytes:
        raise sqlite3.DatabaseError(f"{path.stat().st_size} bytes are there, {pages * page_bytes} should be")
