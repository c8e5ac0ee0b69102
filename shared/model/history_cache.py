"""Encoded histories kept between requests: while a user does nothing, the history's keys and values stay the same.

An entry is found by what it was made of, events and profile, so there is nothing to invalidate: one more event, or one
more interest, is another history. It holds no id, and it goes a while after it was made, so that what was derived from
an erased user's history does not stay.

B users, U distinct histories, H heads, L tokens of the longest history, D width of a head, d width.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from hashlib import blake2b

import numpy as np
import torch
import torch.nn.functional as F
from cachetools import TTLCache

from shared.model.encoding import PackedHistories
from shared.model.ranker_network import EncodedHistories

KEPT_SECONDS = 600.0

Encode = Callable[[PackedHistories], EncodedHistories]


class HistoryCache:
    """Encodes what it does not hold yet, each distinct history once. Thread-safe.

    Args:
        encode: runs the network over histories.
        limit_bytes: memory for keys, values and user vectors; 0 keeps nothing.
        now: seconds on a scale that only grows; None: the process's.
    """

    def __init__(self, encode: Encode, limit_bytes: int, now: Callable[[], float] | None = None) -> None:
        self._encode = encode
        timer = {} if now is None else {"timer": now}
        self._kept: TTLCache[bytes, EncodedHistories] = TTLCache(
            limit_bytes, KEPT_SECONDS, getsizeof=_size_bytes, **timer
        )
        self._lock = threading.Lock()

    def encoded(self, packed: PackedHistories) -> EncodedHistories:
        """The B histories after the encoder, (B, 1, d) users and (B, H, L, D) keys and values by block."""
        names = [_name(packed, user) for user in range(len(packed))]
        found = self._known(names)
        missing = {name: user for user, name in enumerate(names) if name not in found}
        if missing:
            made = self._encode(packed.take(np.fromiter(missing.values(), np.int64, len(missing))))
            lengths = [int(packed.lengths[user]) + 1 for user in missing.values()]
            found |= {name: _one(made, place, lengths[place]) for place, name in enumerate(missing)}
            self._keep({name: found[name] for name in missing})
        return _joined([found[name] for name in names])

    def _known(self, names: list[bytes]) -> dict[bytes, EncodedHistories]:
        with self._lock:
            return {name: kept for name in names if (kept := self._kept.get(name)) is not None}

    def _keep(self, made: dict[bytes, EncodedHistories]) -> None:
        with self._lock:
            for name, encoded in made.items():
                if _size_bytes(encoded) <= self._kept.maxsize:
                    self._kept[name] = encoded


def _name(packed: PackedHistories, user: int) -> bytes:
    """A digest of everything that the encoder reads of a history."""
    past = slice(packed.offsets[user], packed.offsets[user + 1])
    digest = blake2b(digest_size=16)
    for column in (packed.item_rows, packed.event_codes, packed.gap_bins):
        digest.update(np.ascontiguousarray(column[past]).data)
    if packed.profiles is not None:
        for bags in (packed.profiles.own, packed.profiles.interests):
            known = slice(bags.offsets[user], bags.offsets[user + 1])
            digest.update(b"|")  # a feature of a user is none of an item
            digest.update(np.ascontiguousarray(bags.ids[known]).data)
            digest.update(np.ascontiguousarray(bags.weights[known]).data)
    return digest.digest()


def _one(encoded: EncodedHistories, place: int, length: int) -> EncodedHistories:
    """One history of several, cut to its length, in memory of its own."""
    return EncodedHistories(
        _copied(encoded.users[place : place + 1]),
        tuple(_copied(keys[place : place + 1, :, :length]) for keys in encoded.keys),
        tuple(_copied(values[place : place + 1, :, :length]) for values in encoded.values),
    )


def _copied(part: torch.Tensor) -> torch.Tensor:
    """Always a copy: a view of the longest history would keep its whole batch, which no limit counts."""
    return part.clone(memory_format=torch.contiguous_format)


def _joined(parts: list[EncodedHistories]) -> EncodedHistories:
    if len(parts) == 1:
        return parts[0]
    longest = max(part.keys[0].shape[2] for part in parts)
    blocks = range(len(parts[0].keys))
    return EncodedHistories(
        torch.cat([part.users for part in parts]),
        tuple(torch.cat([_stretched(part.keys[block], longest) for part in parts]) for block in blocks),
        tuple(torch.cat([_stretched(part.values[block], longest) for part in parts]) for block in blocks),
    )


def _stretched(tokens: torch.Tensor, longest: int) -> torch.Tensor:
    """(1, H, L', D) → (1, H, L, D), zero behind the end: no candidate sees it."""
    return F.pad(tokens, (0, 0, 0, longest - tokens.shape[2]))


def _size_bytes(encoded: EncodedHistories) -> int:
    return sum(part.nbytes for part in (encoded.users, *encoded.keys, *encoded.values))
