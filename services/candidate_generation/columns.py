"""Arrays that grow: one value a slot, appended and changed in place, read as plain numpy views."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

S = TypeVar("S", bound=np.generic)

_FIRST_CAPACITY = 64


class Column(Generic[S]):
    """One value a slot. Grows by doubling; a view that was handed out before stays valid (and stops changing).

    Args:
        dtype: of the values.
        fill: the value of a slot that was never set.
    """

    def __init__(self, dtype: type[S], fill: float = 0) -> None:
        self._fill = fill
        self._values: npt.NDArray[S] = np.full(_FIRST_CAPACITY, fill, dtype)

    def set(self, slot: int, value: float) -> None:
        """Set one slot."""
        if slot >= len(self._values):
            self._grow(slot + 1)
        self._values[slot] = value

    def get(self, slot: int) -> S:
        """The value of one slot."""
        value: S = self.view(slot + 1)[slot]
        return value

    def take(self, slots: npt.NDArray[np.int64]) -> npt.NDArray[S]:
        """(N,) the values of these slots."""
        return self.view(int(slots.max(initial=-1)) + 1)[slots]

    def view(self, size: int) -> npt.NDArray[S]:
        """The first `size` slots."""
        if size > len(self._values):
            self._grow(size)
        return self._values[:size]

    def _grow(self, size: int) -> None:
        grown = np.full(max(size, 2 * len(self._values)), self._fill, self._values.dtype)
        grown[: len(self._values)] = self._values
        self._values = grown
