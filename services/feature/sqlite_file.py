"""The file of the SQLite feature store: how it is opened, made, locked and cleaned.

Erasing: `secure_delete` overwrites deleted cells, but copies that page splits left in the unallocated part of pages
stay (measured: 6 of 15,000). Only VACUUM, and a truncated WAL behind it, leaves none.
"""

from __future__ import annotations

import fcntl
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.feature.sqlite_schema import TABLES, VERSION
from shared.kernel.config import ConfigError
from shared.kernel.errors import ErrorReason, ServiceError

BUSY_TIMEOUT_MS = 10_000
CACHE_KIB = 65_536


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from the store; the lock goes with the process, however it ends.

    Raises:
        ConfigError: the folder cannot be written, or another process has the store.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("a")
    except OSError as error:
        raise ConfigError(_unusable(path, error)) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"the feature store {path} is in use by another process: stop it, or set another WINNOW_DATA_DIR"
            ) from error
        yield


def open_file(path: Path) -> sqlite3.Connection:
    """The writer's connection to a file with the right tables.

    Raises:
        ConfigError: it is damaged or cannot be written.
    """
    try:
        db = connect(path)
        if db.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            make_tables(db)
    except (sqlite3.Error, OSError) as error:
        raise ConfigError(_unusable(path, error)) from error
    return db


def connect(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode."""
    # The connection is made, used and closed in its own thread, but for the executor's sake not bound to it.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")
    db.execute("PRAGMA secure_delete=ON")
    db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    return db


def make_tables(db: sqlite3.Connection) -> None:
    """Replace whatever the file holds by empty tables."""
    with transaction(db):
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            db.execute(f"DROP TABLE {name}")
        for statement in TABLES:
            db.execute(statement)
        fresh = {"position": b"", "page_token_key": secrets.token_bytes(32), "scrub": b""}
        db.executemany("INSERT INTO meta VALUES (?, ?)", fresh.items())
        db.execute(f"PRAGMA user_version={VERSION}")
    scrub_file(db)


def scrub_file(db: sqlite3.Connection) -> None:
    """Rebuild the file from what its tables hold, and empty the WAL; the wish to do so is met only then."""
    db.execute("VACUUM")
    busy, *_ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError("the WAL could not be emptied: another process reads the file")
    set_meta(db, "scrub", b"")


def meta(db: sqlite3.Connection, name: str) -> bytes:
    """One of the store's own values."""
    value: bytes = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0]
    return value


def set_meta(db: sqlite3.Connection, name: str, value: bytes) -> None:
    """Change one of the store's own values."""
    db.execute("UPDATE meta SET value = ? WHERE name = ?", (value, name))


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All statements of the block, or none of them."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # a full disk may have ended it already
            db.execute("ROLLBACK")
        raise


def storage_error(path: Path, error: sqlite3.Error) -> ServiceError:
    """What SQLite says, as the service's error."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return ServiceError(
            ErrorReason.STORAGE_FULL,
            f"the disk under {path} is full; free some space",
            metadata={"path": str(path)},
        )
    return ServiceError(
        ErrorReason.STORAGE_UNAVAILABLE,
        f"the feature store {path} cannot be used: {error}",
        metadata={"component": "feature-store"},
    )


def _unusable(path: Path, error: Exception) -> str:
    return (
        f"the feature store {path} cannot be used: {error}; make its folder writable, or delete the file: "
        f"the service fills a new one from the log"
    )
