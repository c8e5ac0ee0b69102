"""What an entry is worth beside those that already stand above it.

Repetition  the n-th entry of the same creator, first category or attribute value; and how many may come at all
Likeness    maximal marginal relevance (Carbonell & Goldstein 1998) as a factor, so that it multiplies up with the
            other rules: 1 − strength · cosine with the most alike entry above

All only ever lower a value as more is shown.

Dimensions: N candidates, K different keys or labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from services.recommendation.slate import Mask, Rows

Floats = npt.NDArray[np.float64]


class Damping(Protocol):
    """A rule that lowers values by what is shown.

    Attributes:
        damps: False where it only caps.
    """

    name: str
    damps: bool

    def factor(self, row: int) -> float:
        """What a candidate is worth as the next entry, as a share of its value."""

    def show(self, row: int) -> None:
        """The candidate is the next entry."""

    def factors_now(self) -> Floats:
        """(N,) the factors of all candidates at once."""


class Repetition:
    """What is shown of one kind of key (creators, say), and what one more of the same is worth.

    Args:
        name: of the rule.
        codes: (N,) the keys as numbers from 1; 0 = none, which never repeats.
        factors: what the n-th repetition is worth, from n = 0, one more than the candidates; empty: the full value.
        cap: entries of one key before everything else had its turn; 0 = no cap.
    """

    def __init__(self, name: str, codes: list[int], factors: Sequence[float], cap: int) -> None:
        self.name = name
        self._codes = codes
        self._factors = factors or (1.0,) * (len(codes) + 1)
        self._cap = cap
        self._shown = [0] * (max(codes, default=0) + 1)
        self.damps = bool(factors) and min(factors) < 1
        self.caps = cap > 0

    def factor(self, row: int) -> float:
        """By how often its key was shown."""
        return self._factors[self._shown[self._codes[row]]]

    def full(self, row: int) -> bool:
        """Whether its key was shown as often as may be."""
        return self._cap <= self._shown[self._codes[row]]

    def show(self, row: int) -> None:
        """Count its key."""
        if self._codes[row]:
            self._shown[self._codes[row]] += 1

    def factors_now(self) -> Floats:
        """(N,) by how often each key was shown."""
        return np.asarray(np.array(self._factors)[np.array(self._shown)[self._codes]])

    def full_now(self) -> Mask:
        """(N,) whose keys were shown as often as may be."""
        return np.array(self._shown)[self._codes] >= self._cap


class Likeness:
    """How alike a candidate is to what is shown.

    Args:
        name: of the rule.
        vectors: (N, K) unit vectors of labels, zero where there are none.
        strength: share of the value that an entry loses which is just like one above it.
    """

    damps = True

    def __init__(self, name: str, vectors: npt.NDArray[np.float32], strength: float) -> None:
        self.name = name
        self._vectors = vectors
        self._strength = strength
        self._closest = np.zeros(len(vectors), np.float32)
        self._factors = [1.0] * len(vectors)

    def factor(self, row: int) -> float:
        """By the most alike entry so far."""
        return self._factors[row]

    def show(self, row: int) -> None:
        """Compare everything with it."""
        np.maximum(self._closest, self._vectors @ self._vectors[row], out=self._closest)
        self._factors = self.factors_now().tolist()

    def factors_now(self) -> Floats:
        """(N,) of all candidates."""
        return 1.0 - self._strength * np.clip(self._closest.astype(np.float64), 0.0, 1.0)


def codes_of(keys: Sequence[str]) -> list[int]:
    """Keys as numbers from 1; 0 = none."""
    known = {"": 0}
    return [known.setdefault(key, len(known)) for key in keys]


def codes_of_rows(rows: Sequence[Rows], count: int) -> list[int]:
    """The same where each key is given by the rows that carry it."""
    codes = np.zeros(count, np.int64)
    for code, each in enumerate(rows, 1):
        codes[each] = code
    numbers: list[int] = codes.tolist()
    return numbers


def unit_vectors(rows: Sequence[Rows], count: int) -> npt.NDArray[np.float32]:
    """(N, K) the candidates' labels as unit vectors, zero where there are none."""
    vectors = np.zeros((count, len(rows)), np.float32)
    for column, each in enumerate(rows):
        vectors[each, column] = 1
    lengths = np.sqrt(vectors.sum(axis=1, keepdims=True))
    unit: npt.NDArray[np.float32] = vectors / np.maximum(lengths, 1)
    return unit
