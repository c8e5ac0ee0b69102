"""How many different things were seen in a day, in a fixed amount of memory.

Linear counting (Whang, Vander-Zanden, Taylor: A Linear-Time Probabilistic Counting Algorithm, 1990): one bit a hash
value; the share of bits that stay zero tells how many different values there were.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Final

BITS: Final = 1 << 20
"""128 KiB, twice; the error stays near 1 % up to three million different values."""
DAY_MS: Final = 86_400_000


class DailyDistinct:
    """Counts different values of the present day and of the day before it (UTC)."""

    def __init__(self) -> None:
        self._day = 0
        self._bits = bytearray(BITS // 8)
        self._zeros = BITS
        self._day_before = 0.0

    @property
    def estimate(self) -> float:
        """Different values of the present day, or of the day before where those were more."""
        return max(self._day_before, self._present)

    def add(self, value: str, time_ms: int) -> None:
        """Take a value in; a moment before the present day counts to it."""
        day = time_ms // DAY_MS
        if day > self._day:
            self._day_before = self._present if day == self._day + 1 else 0.0
            self._day, self._zeros, self._bits = day, BITS, bytearray(BITS // 8)
        place = int.from_bytes(blake2b(value.encode(), digest_size=4).digest()) % BITS
        byte, bit = place >> 3, 1 << (place & 7)
        if not self._bits[byte] & bit:
            self._bits[byte] |= bit
            self._zeros -= 1

    @property
    def _present(self) -> float:
        return BITS * math.log(BITS / max(1, self._zeros))
