"""External ids ↔ dense rows: the only place where an `item_id` becomes an `item_row`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

UNKNOWN_ROW = -1
"""The row of an id that the vocabulary does not hold."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """An ordered set of ids. Row i is `ids[i]`.

    Raises:
        ValueError: an id occurs twice.
    """

    ids: tuple[str, ...]
    _rows: dict[str, int]

    def __init__(self, ids: Iterable[str]) -> None:
        ordered = tuple(ids)
        rows = {name: row for row, name in enumerate(ordered)}
        if len(rows) != len(ordered):
            raise ValueError(f"{len(ordered) - len(rows)} ids occur more than once in the vocabulary")
        object.__setattr__(self, "ids", ordered)
        object.__setattr__(self, "_rows", rows)

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def row(self, name: str) -> int:
        """The row of one id, `UNKNOWN_ROW` when it is not here."""
        return self._rows.get(name, UNKNOWN_ROW)

    def rows(self, names: Sequence[str]) -> npt.NDArray[np.int64]:
        """The rows of many ids, (N,), `UNKNOWN_ROW` for those that are not here."""
        get = self._rows.get
        return np.fromiter((get(name, UNKNOWN_ROW) for name in names), dtype=np.int64, count=len(names))
