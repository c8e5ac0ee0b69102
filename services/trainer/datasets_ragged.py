"""Rows of different lengths in one flat array."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Ragged:
    """N rows, of which row i is `flat[offsets[i]:offsets[i + 1]]`.

    Attributes:
        flat: (F,) the rows one after another.
        offsets: (N + 1,) int64, from 0 to F.
    """

    flat: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def from_slices(
        cls, source: npt.NDArray[Any], starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
    ) -> Ragged:
        """Row i is `source[starts[i]:starts[i] + lengths[i]]`."""
        offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        return cls(source[np.repeat(starts, lengths) + within], offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> npt.NDArray[Any]:
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(N,) the length of each row."""
        return np.diff(self.offsets)

    def rows(self, start: int, stop: int) -> Ragged:
        """The rows from `start` to before `stop`."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(self.flat[offsets[0] : offsets[-1]], offsets - offsets[0])

    def row_of_each(self) -> npt.NDArray[np.int64]:
        """(F,) the row that each entry of `flat` belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def place_from_end(self) -> npt.NDArray[np.int64]:
        """(F,) how far each entry is from the end of its row: 0 for the last."""
        return np.repeat(self.offsets[1:], self.lengths) - 1 - np.arange(len(self.flat))
