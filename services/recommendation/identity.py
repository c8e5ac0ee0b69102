"""Ids of answers, and the seed that every random choice of an answer comes from."""

from __future__ import annotations

import hashlib
import uuid

import numpy as np

from shared.kernel.clock import Clock


class RecommendationIds:
    """Makes ids that sort by time: UUIDv7 (RFC 9562, section 5.7) from a passed clock and generator."""

    def __init__(self, clock: Clock, generator: np.random.Generator) -> None:
        self._clock = clock
        self._generator = generator

    def next(self) -> str:
        """A new id: 48 bits of Unix milliseconds, version and variant, 74 random bits."""
        random = int.from_bytes(self._generator.bytes(10), "big")
        high = (self._clock() & (1 << 48) - 1) << 80 | 0x7 << 76 | (random >> 62 & 0xFFF) << 64
        return str(uuid.UUID(int=high | 0b10 << 62 | random & (1 << 62) - 1))


def seed_of(recommendation_id: str) -> int:
    """The answer's seed, 64 bits: it depends on the id alone, so a replay makes the same choices."""
    return int.from_bytes(hashlib.sha256(recommendation_id.encode()).digest()[:8], "big")
