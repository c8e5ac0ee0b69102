"""Vectors that were computed once, by encoder and hash of the content: one SQLite file, bounded, shared by processes.

It holds nothing that could not be computed again. So a file that cannot be used is replaced, and one that is busy or
full costs time, never an answer. Vectors are kept as float16: the bundles keep no more either.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np
import structlog

from shared.model.content import Floats

_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    encoder_id TEXT NOT NULL, content_hash TEXT NOT NULL, used_s INTEGER NOT NULL, numbers BLOB NOT NULL,
    PRIMARY KEY (encoder_id, content_hash)
);
CREATE INDEX IF NOT EXISTS vectors_by_use ON vectors (used_s);
"""
_BUSY_SECONDS = 30
_TOUCH_SECONDS = 86_400  # a use is noted once a day: reading must not become writing
_AT_ONCE = 500
_DROPPED_SHARE = 0.1

R = TypeVar("R")
log = structlog.get_logger()


class VectorCache:
    """Keeps vectors. Safe for several threads and processes.

    Args:
        path: the file.
        limit_bytes: when it grows beyond this, the vectors that were not used for longest go.
    """

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path, self._limit = path, limit_bytes
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None

    def get(self, encoder_id: str, hashes: Sequence[str]) -> dict[str, Floats]:
        """The vectors that are there, by hash."""
        found: dict[str, Floats] = {}
        wanted = list(dict.fromkeys(hashes))
        with self._lock:
            for start in range(0, len(wanted), _AT_ONCE):
                part = wanted[start : start + _AT_ONCE]
                found |= self._try(partial(_read, encoder_id=encoder_id, hashes=part), dict[str, Floats]())
        return found

    def put(self, encoder_id: str, vectors: Iterable[tuple[str, Floats]]) -> None:
        """Keep vectors, by hash."""
        now = int(time.time())
        rows = [(encoder_id, name, now, values.astype(np.float16).tobytes()) for name, values in vectors]
        with self._lock:
            self._try(partial(self._write, rows=rows), None)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _try(self, work: Callable[[sqlite3.Connection], R], otherwise: R) -> R:
        """One access; a damaged file is begun anew, any other trouble is told and passed over."""
        try:
            return work(self._opened())
        except (sqlite3.DatabaseError, OSError) as error:
            log.warning("content.cache.unusable", path=str(self._path), reason=str(error))
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                self._begin_anew()
            return otherwise

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, check_same_thread=False)
            self._connection = connection
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executescript(_SCHEMA)
        return self._connection

    def _begin_anew(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _write(self, connection: sqlite3.Connection, rows: Sequence[tuple[str, str, int, bytes]]) -> None:
        with connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", rows)
        if _size(connection) > self._limit:
            with connection:
                connection.execute(
                    "DELETE FROM vectors WHERE rowid IN (SELECT rowid FROM vectors ORDER BY used_s, rowid LIMIT "
                    "(SELECT 1 + CAST(COUNT(*) * ? AS INTEGER) FROM vectors))",
                    (_DROPPED_SHARE,),
                )


def _read(connection: sqlite3.Connection, encoder_id: str, hashes: Sequence[str]) -> dict[str, Floats]:
    places = ",".join("?" * len(hashes))
    rows = connection.execute(
        f"SELECT content_hash, used_s, numbers FROM vectors WHERE encoder_id = ? AND content_hash IN ({places})",  # noqa: S608  # question marks only
        (encoder_id, *hashes),
    ).fetchall()
    now = int(time.time())
    if old := [(now, encoder_id, name) for name, used_s, _ in rows if used_s < now - _TOUCH_SECONDS]:
        with connection:
            connection.executemany("UPDATE vectors SET used_s = ? WHERE encoder_id = ? AND content_hash = ?", old)
    return {name: np.frombuffer(numbers, np.float16).astype(np.float32) for name, _, numbers in rows}


def _size(connection: sqlite3.Connection) -> int:
    """Bytes in use: pages that are free again do not count."""
    (pages,), (free,), (page,) = (connection.execute(f"PRAGMA {name}").fetchone()
                                  for name in ("page_count", "freelist_count", "page_size"))  # fmt: skip
    used: int = (pages - free) * page
    return used
