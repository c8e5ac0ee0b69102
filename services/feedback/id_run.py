"""A sorted, immutable file of id hashes that answers "which of these do you hold?" with one memory access an id.

Layout, little-endian words of 64 bits: magic, number of ids n, number of filter words w (a power of two, at least 2);
n high words, ascending; n low words; w filter words. The filter is a Bloom filter whose 4 bits of an id lie in one word
(Putze, Sanders, Singler 2007, "Cache-, Hash- and Space-Efficient Bloom Filters"): with at least 16 bits an id, about
one miss in 200 goes on to binary search.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

MAGIC: Final = 0x31534449574E4957
"""The bytes of `WINWIDS1`."""
HEADER_WORDS: Final = 3
IDS_A_FILTER_WORD: Final = 4
SLICE_IDS: Final = 65_536
"""Ids that one step of a merge writes: a few milliseconds of work."""


@dataclass(frozen=True, slots=True)
class IdColumns:
    """N hashes in columns: (N,) high and low words and the bits that each sets in its filter word."""

    high: Words
    low: Words
    bits: Words

    @classmethod
    def of(cls, hashes: Sequence[bytes]) -> IdColumns:
        """Columns of hashes of 16 bytes."""
        words = np.frombuffer(b"".join(hashes), dtype="<u8").reshape(-1, 2)
        return cls.from_words(np.ascontiguousarray(words[:, 0]), np.ascontiguousarray(words[:, 1]))

    @classmethod
    def from_words(cls, high: Words, low: Words) -> IdColumns:
        """Columns of hashes that are split already."""
        one, mask = np.uint64(1), np.uint64(63)
        bits = one << (low & mask)
        for shift in (6, 12, 18):
            bits |= one << ((low >> np.uint64(shift)) & mask)
        return cls(high, low, bits)


class IdRun:
    """One run, mapped into memory: what is not asked for costs nothing."""

    def __init__(self, path: Path, words: Words) -> None:
        self.path = path
        self.count, filter_words = int(words[1]), int(words[2])
        low_start = HEADER_WORDS + self.count
        self.high = words[HEADER_WORDS:low_start]
        self.low = words[low_start : low_start + self.count]
        self._filter = words[low_start + self.count :]
        self._shift = _shift(filter_words)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map a run.

        Raises:
            ValueError: the file is no whole run.
            OSError: it cannot be read.
        """
        if path.stat().st_size < HEADER_WORDS * 8:
            raise ValueError(f"{path} is too short for a run of ids")
        words = np.memmap(path, dtype="<u8", mode="r")
        if int(words[0]) != MAGIC or len(words) != HEADER_WORDS + 2 * int(words[1]) + int(words[2]):
            raise ValueError(f"{path} is not a whole run of ids")
        return cls(path, words.view(np.ndarray))

    def holds(self, asked: IdColumns) -> npt.NDArray[np.bool_]:
        """Which of N ids are here, (N,)."""
        found: npt.NDArray[np.bool_] = (self._filter[asked.high >> self._shift] & asked.bits) == asked.bits  # (N,)
        for row in np.flatnonzero(found):
            found[row] = self._search(asked.high[row], asked.low[row])
        return found

    def _search(self, high: np.uint64, low: np.uint64) -> bool:
        start = int(np.searchsorted(self.high, high, "left"))
        stop = int(np.searchsorted(self.high, high, "right"))
        return low in self.low[start:stop]


def write_run(path: Path, hashes: Sequence[bytes]) -> None:
    """Write one run at once; it is complete and on the disk, or not there at all.

    Raises:
        OSError: the disk is full or fails.
    """
    columns = IdColumns.of(hashes)
    order = np.argsort(columns.high)
    for _ in _write(path, len(hashes), iter([IdColumns(columns.high[order], columns.low[order], columns.bits[order])])):
        pass


def merge_runs(path: Path, runs: Sequence[IdRun]) -> Iterator[None]:
    """Write the ids of several runs as one, a slice a step; the run stands when the iterator ends.

    Raises:
        OSError: the disk is full or fails; nothing is left behind.
    """
    return _write(path, sum(run.count for run in runs), _slices(runs))


def _slices(runs: Sequence[IdRun]) -> Iterator[IdColumns]:
    total = sum(run.count for run in runs)
    steps = max(1, total // SLICE_IDS)
    borders = [np.uint64(min(step * (2**64 // steps), 2**64 - 1)) for step in range(1, steps)]
    cuts = [[0, *np.searchsorted(run.high, borders).tolist(), run.count] for run in runs]
    for step in range(steps):
        high = np.concatenate([run.high[cut[step] : cut[step + 1]] for run, cut in zip(runs, cuts, strict=True)])
        low = np.concatenate([run.low[cut[step] : cut[step + 1]] for run, cut in zip(runs, cuts, strict=True)])
        order = np.argsort(high, kind="stable")
        yield IdColumns.from_words(high[order], low[order])


def _write(path: Path, count: int, slices: Iterator[IdColumns]) -> Iterator[None]:
    filter_words = 1 << max(1, (count // IDS_A_FILTER_WORD).bit_length())
    bits = np.zeros(filter_words, np.uint64)
    unfinished = path.with_suffix(".tmp")
    try:
        with unfinished.open("wb") as file:
            _write_words(file.fileno(), 0, np.array([MAGIC, count, filter_words], np.uint64))
            done = 0
            for part in slices:
                _write_words(file.fileno(), HEADER_WORDS + done, part.high)
                _write_words(file.fileno(), HEADER_WORDS + count + done, part.low)
                np.bitwise_or.at(bits, part.high >> _shift(filter_words), part.bits)
                done += len(part.high)
                yield
            _write_words(file.fileno(), HEADER_WORDS + 2 * count, bits)
            os.fsync(file.fileno())
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_words(descriptor: int, start: int, words: Words) -> None:
    content, offset = memoryview(words.astype("<u8", copy=False).tobytes()), start * 8
    while content:
        written = os.pwrite(descriptor, content, offset)
        content, offset = content[written:], offset + written


def _shift(filter_words: int) -> np.uint64:
    """How far a high word is moved to the right to give its filter word."""
    return np.uint64(65 - filter_words.bit_length())
