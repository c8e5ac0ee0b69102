"""Identities: user id → pseudonym and key. Whoever has no key any more was erased; who comes back begins anew."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from services.feedback.keyed_hash import KeyedHash
from services.feedback.record_codec import ERASED_KEY, draw_key

SUBJECT_BYTES: Final = 12
CACHED_USERS: Final = 50_000
HASHES_A_QUERY: Final = 200

MARKS: Final = ", ".join("?" * HASHES_A_QUERY)
FIND: Final = (
    f"SELECT user_hash, key_row, subject, key FROM users JOIN keys USING (key_row) WHERE user_hash IN ({MARKS})"  # noqa: S608  # marks only
)


class Identity(NamedTuple):
    """A user as the log knows them."""

    key_row: int
    subject: str
    key: bytes


class UserKeys:
    """The identities of the log. Belongs to the writer's thread.

    Args:
        connection: the writer's.
        hashes: of the log.
    """

    def __init__(self, connection: sqlite3.Connection, hashes: KeyedHash) -> None:
        self._connection = connection
        self._hashes = hashes
        self._cache: dict[str, Identity] = {}
        self._next_row = 1 + (connection.execute("SELECT max(key_row) FROM keys").fetchone()[0] or 0)

    def of(self, user_ids: Iterable[str]) -> tuple[dict[str, Identity], dict[str, Identity]]:
        """The identities of users, and those among them that are drawn anew and must be stored with the records."""
        wanted = set(user_ids)
        known = {user_id: self._cache[user_id] for user_id in wanted if user_id in self._cache}
        if len(known) == len(wanted):
            return known, {}
        known |= self._find(wanted - known.keys())
        missing = sorted(wanted - known.keys())
        drawn = {user_id: self._draw(row) for row, user_id in enumerate(missing, self._next_row)}
        return known | drawn, drawn

    def store(self, drawn: dict[str, Identity]) -> None:
        """Write new identities; part of the transaction that writes their first records."""
        self._connection.executemany("INSERT INTO keys VALUES (?, ?, ?)", drawn.values())
        rows = [(self._hashes.user(user_id), identity.key_row) for user_id, identity in drawn.items()]
        self._connection.executemany("INSERT INTO users VALUES (?, ?)", rows)

    def remember(self, identities: dict[str, Identity]) -> None:
        """Keep what a committed transaction used for the next one."""
        if len(self._cache) + len(identities) > CACHED_USERS:
            self._cache.clear()
        self._cache |= identities
        newest = max((identity.key_row for identity in identities.values()), default=0)
        self._next_row = max(self._next_row, newest + 1)

    def find(self, user_id: str) -> Identity | None:
        """The present identity of a user."""
        return self._find({user_id}).get(user_id)

    def destroy(self, user_id: str, identity: Identity) -> None:
        """Overwrite the key and forget whose it was; part of a transaction."""
        self._connection.execute("UPDATE keys SET key = ? WHERE key_row = ?", (ERASED_KEY, identity.key_row))
        self._connection.execute("DELETE FROM users WHERE user_hash = ?", (self._hashes.user(user_id),))
        self._cache.pop(user_id, None)

    def _find(self, user_ids: set[str]) -> dict[str, Identity]:
        by_hash = {self._hashes.user(user_id): user_id for user_id in user_ids}
        found: dict[str, Identity] = {}
        for asked in _padded(list(by_hash)):
            for user_hash, *identity in self._connection.execute(FIND, asked):
                found[by_hash[user_hash]] = Identity(*identity)
        return found

    def _draw(self, key_row: int) -> Identity:
        return Identity(key_row, secrets.token_hex(SUBJECT_BYTES), draw_key())


def _padded(hashes: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Runs of one length, so that one prepared statement serves all."""
    for start in range(0, len(hashes), HASHES_A_QUERY):
        part = hashes[start : start + HASHES_A_QUERY]
        yield [*part, *[b""] * (HASHES_A_QUERY - len(part))]
