"""Inverted lists: which slots carry a key (a category, a tag, a word), and with what weight.

They serve category masks, interests, word search and likeness without a loop over the catalogue: reading a list of n
slots is one array view, and only what an upsert really changes is touched.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Slots = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_FIRST_CAPACITY = 4


class Postings:
    """The slots of one key, each once, in no order."""

    __slots__ = ("_count", "_slots", "_weights")

    def __init__(self) -> None:
        self._count = 0
        self._slots: Slots = np.empty(_FIRST_CAPACITY, np.int64)
        self._weights: Floats = np.empty(_FIRST_CAPACITY, np.float32)

    def __len__(self) -> int:
        return self._count

    @property
    def slots(self) -> Slots:
        """(n,) the slots."""
        return self._slots[: self._count]

    @property
    def weights(self) -> Floats:
        """(n,) their weights."""
        return self._weights[: self._count]

    def add(self, slot: int, weight: float) -> None:
        """Add a slot that is not there yet."""
        if self._count == len(self._slots):
            self._slots = np.concatenate([self._slots, np.empty_like(self._slots)])
            self._weights = np.concatenate([self._weights, np.empty_like(self._weights)])
        self._slots[self._count], self._weights[self._count] = slot, weight
        self._count += 1

    def remove(self, slot: int) -> None:
        """Remove a slot that is there."""
        self.keep(self.slots != slot)

    def keep(self, kept: npt.NDArray[np.bool_]) -> None:
        """Keep only the entries of a (n,) mask. Views that were handed out stay as they are."""
        self._slots, self._weights = self.slots[kept], self.weights[kept]
        self._count = len(self._slots)


_NOTHING = Postings()


class PostingIndex:
    """Postings by key."""

    def __init__(self) -> None:
        self._by_key: dict[str, Postings] = {}

    def get(self, key: str) -> Postings:
        """The postings of a key; empty ones for a key that nobody carries."""
        return self._by_key.get(key, _NOTHING)

    def change(self, slot: int, old: Mapping[str, float], new: Mapping[str, float]) -> None:
        """Bring one slot from its old keys (with weights) to its new ones."""
        for key, weight in old.items():
            if new.get(key) != weight:
                self._remove(key, slot)
        for key, weight in new.items():
            if old.get(key) != weight:
                postings = self._by_key.get(key)
                if postings is None:
                    postings = self._by_key[key] = Postings()
                postings.add(slot, weight)

    def forget(self, gone: npt.NDArray[np.bool_]) -> None:
        """Remove all slots of a (S,) mask."""
        for key, postings in list(self._by_key.items()):
            postings.keep(~gone[postings.slots])
            if not len(postings):
                del self._by_key[key]

    def _remove(self, key: str, slot: int) -> None:
        postings = self._by_key[key]
        postings.remove(slot)
        if not len(postings):
            del self._by_key[key]
