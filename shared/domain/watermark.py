"""A position of the event log, and its opaque form for clients."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORM = re.compile(r"w1(?:-\d{1,4}\.\d{1,19})*")


@dataclass(frozen=True, slots=True)
class Watermark:
    """How much of the log is included: for each partition the offset behind the last included record.

    A partition that is not named is included up to its beginning. One partition (0) is the embedded log.

    Attributes:
        positions: (partition, next offset), ascending by partition, offsets above 0.
    """

    positions: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, next_offset: int) -> Watermark:
        """The position of a log with one partition."""
        return cls(((0, next_offset),)) if next_offset > 0 else cls()

    @classmethod
    def parse(cls, text: str) -> Watermark:
        """Read the opaque form; "" is the beginning of the log.

        Raises:
            ValueError: the text was not made by `str(watermark)`.
        """
        if not text:
            return cls()
        if not _FORM.fullmatch(text):
            raise ValueError(f"{text[:64]!r} is not a watermark: pass one that an answer gave, or leave it empty")
        parts = [part.split(".") for part in text.split("-")[1:]]
        return cls(tuple(sorted((int(partition), int(offset)) for partition, offset in parts)))

    def __str__(self) -> str:
        return "w1" + "".join(f"-{partition}.{offset}" for partition, offset in self.positions)

    def offset(self, partition: int = 0) -> int:
        """The offset behind the last included record of a partition."""
        return dict(self.positions).get(partition, 0)

    def covers(self, other: Watermark) -> bool:
        """Whether everything that `other` includes is included here as well."""
        mine = dict(self.positions)
        return all(mine.get(partition, 0) >= offset for partition, offset in other.positions)

    def joined(self, other: Watermark) -> Watermark:
        """The least position that covers both."""
        merged = dict(self.positions)
        for partition, offset in other.positions:
            merged[partition] = max(merged.get(partition, 0), offset)
        return Watermark(tuple(sorted(merged.items())))
