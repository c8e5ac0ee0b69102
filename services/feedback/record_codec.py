"""The form of a record: a fact's bytes, sealed under its user's key, or in the clear when it is about nobody.

Sealed is AES-256-GCM (NIST SP 800-38D): 12 random bytes as nonce, then ciphertext and tag. A key is good
for 2³² records.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.feedback.keyed_hash import KeyedHash
from shared.domain.event_log import Fact, ItemDeletion, SentEvent
from shared.domain.events import Event
from shared.domain.items import Item, User
from shared.domain.slates import ServedSlate
from shared.wire.log import fact_to_bytes

CLEAR: Final = 0
SEALED: Final = 1
NONCE_BYTES: Final = 12
KEY_BYTES: Final = 32
ERASED_KEY: Final = bytes(KEY_BYTES)
CACHED_CIPHERS: Final = 50_000
RECORD_WEIGHT: Final = 200
"""Bytes that a record costs beside its payload."""


class Draft(NamedTuple):
    """A fact on its way into the log.

    Attributes:
        payload: the fact's bytes.
        user_id: whose key seals it; "" = in the clear.
        id_hash: the same fact is not taken twice; empty: every one is taken.
        is_slate: the hash is a slate's and can be looked up.
        order_key: facts about nobody keep their order among those of one key.
    """

    payload: bytes
    user_id: str
    id_hash: bytes
    is_slate: bool
    order_key: bytes = b""


def draft(fact: Fact | SentEvent, hashes: KeyedHash) -> Draft:
    """What the log needs to know of a fact."""
    if isinstance(fact, SentEvent):
        return Draft(fact.payload, fact.user_id, hashes.event(fact.event_id), False)  # noqa: FBT003  # names cost a third
    payload = fact_to_bytes(fact)
    if isinstance(fact, Event):
        return Draft(payload, fact.user_id, hashes.event(fact.event_id), is_slate=False)
    if isinstance(fact, ServedSlate):
        slate_hash = hashes.slate(fact.recommendation_id, fact.first_position)
        return Draft(payload, fact.user_id, slate_hash, is_slate=True, order_key=slate_hash)
    if isinstance(fact, User):
        return Draft(payload, fact.user_id, b"", is_slate=False)
    order_key = fact.item_id.encode() if isinstance(fact, Item | ItemDeletion) else b""
    return Draft(payload, "", b"", is_slate=False, order_key=order_key)


def weight_of(drafts: Sequence[Draft]) -> int:
    """Bytes that drafts hold while they wait to be written."""
    return sum(len(each.payload) for each in drafts) + RECORD_WEIGHT * len(drafts)


def draw_key() -> bytes:
    """A new user's key."""
    return os.urandom(KEY_BYTES)


def draw_nonces(count: int) -> list[bytes]:
    """Nonces of many records, drawn at once."""
    drawn = os.urandom(NONCE_BYTES * count)
    return [drawn[start : start + NONCE_BYTES] for start in range(0, len(drawn), NONCE_BYTES)]


@lru_cache(maxsize=CACHED_CIPHERS)
def cipher(key: bytes) -> AESGCM:
    """The cipher of a key; kept, because making one costs as much as using it."""
    return AESGCM(key)


def forget_ciphers() -> None:
    """Drops all keys from memory, those of erased users too."""
    cipher.cache_clear()


def seal(key: bytes, nonce: bytes, payload: bytes) -> bytes:
    """The sealed form."""
    return nonce + cipher(key).encrypt(nonce, payload, None)


def unseal(key: bytes, sealed: bytes) -> bytes:
    """The fact's bytes.

    Raises:
        cryptography.exceptions.InvalidTag: the bytes are not those that were sealed under this key.
    """
    return cipher(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
