"""What a reader took and what it refused, so that no bad row stops an import and none disappears unseen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

EXAMPLES_KEPT = 20
"""Refused rows that a report quotes; the rest is only counted."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row that was not taken.

    Attributes:
        line: the physical line in a text file, the row (from 1) in a Parquet file.
        reason: what is wrong with it, with the value.
    """

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class ReadReport:
    """The outcome of reading one file.

    Attributes:
        source: the file.
        taken: rows that are in the result.
        refused: rows that are not.
        examples: the first `EXAMPLES_KEPT` refusals in line order.
    """

    source: str
    taken: int
    refused: int
    examples: tuple[Refusal, ...] = ()

    def summary(self) -> str:
        """One line for a person, e.g. `items.jsonl: took 9, refused 1 (line 4: item_id is empty)`."""
        line = f"{self.source}: took {self.taken:,}, refused {self.refused:,}"
        if not self.examples:
            return line
        first = self.examples[0]
        return f"{line} (line {first.line}: {first.reason}{'; …' if self.refused > 1 else ''})"


@dataclass(slots=True)
class RefusalLog:
    """Collects refusals while a file is read."""

    refused: int = 0
    _examples: list[Refusal] = field(default_factory=list)

    def refuse(self, line: int, reason: str) -> None:
        """Note one row that is not taken."""
        self.refused += 1
        self._examples.append(Refusal(line, reason))
        if len(self._examples) > 2 * EXAMPLES_KEPT:
            self._trim()

    def refuse_all(self, refusals: Iterable[Refusal]) -> None:
        """Note several rows that are not taken."""
        for refusal in refusals:
            self.refuse(refusal.line, refusal.reason)

    def report(self, source: str, taken: int) -> ReadReport:
        """The finished report of a file of which `taken` rows are kept."""
        self._trim()
        return ReadReport(source, taken, self.refused, tuple(self._examples))

    def _trim(self) -> None:
        self._examples.sort(key=lambda refusal: refusal.line)
        del self._examples[EXAMPLES_KEPT:]
