"""Ids as they stand on disk: keyed BLAKE2b, so that a file tells nothing about an id to who does not know it already.

16 bytes: two different ids among a thousand million share a hash with a probability of 10⁻²¹.
Source: RFC 7693; `person` keeps the hashes of events, slates and users apart.
"""

from __future__ import annotations

import secrets
from hashlib import blake2b
from typing import Final

HASH_BYTES: Final = 16
SECRET_BYTES: Final = 32


def draw_secret() -> bytes:
    """The secret of a new log."""
    return secrets.token_bytes(SECRET_BYTES)


class KeyedHash:
    """Hashes under one log's secret."""

    def __init__(self, secret: bytes) -> None:
        self._event = blake2b(key=secret, digest_size=HASH_BYTES, person=b"event")
        self._slate = blake2b(key=secret, digest_size=HASH_BYTES, person=b"slate")
        self._user = blake2b(key=secret, digest_size=HASH_BYTES, person=b"user")

    def event(self, event_id: str) -> bytes:
        """Of an event's id."""
        state = self._event.copy()
        state.update(event_id.encode())
        return state.digest()

    def slate(self, recommendation_id: str, first_position: int) -> bytes:
        """Of one page of an answer."""
        state = self._slate.copy()
        state.update(f"{first_position} {recommendation_id}".encode())
        return state.digest()

    def user(self, user_id: str) -> bytes:
        """Of a user's id."""
        state = self._user.copy()
        state.update(user_id.encode())
        return state.digest()
