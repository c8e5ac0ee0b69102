"""Translates between the catalogue's slots and the places of one bundle: its item rows and its index's slots.

Rows and index slots begin as the same numbers; an item that moves to the index's delta keeps its row (the transitions
know it by that) and gets a new index slot.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.candidate_generation.catalogue import NOWHERE
from services.candidate_generation.columns import Column
from shared.model.index import NONE

Slots = npt.NDArray[np.int64]


class SlotLinks:
    """Both directions, both kinds. `version` grows with every change of an index slot."""

    def __init__(self) -> None:
        self.version = 0
        self._index_of = Column(np.int64, NONE)  # by catalogue slot
        self._of_index = Column(np.int64, NOWHERE)  # by index slot
        self._row_of = Column(np.int64, NONE)  # by catalogue slot
        self._of_row = Column(np.int64, NOWHERE)  # by row

    def link(self, slot: int, index_slot: int) -> None:
        """An item can be found at an index slot from now on."""
        self._unlink(slot)
        self._index_of.set(slot, index_slot)
        self._of_index.set(index_slot, slot)
        self.version += 1

    def link_row(self, slot: int, row: int) -> None:
        """The bundle knows an item by a row."""
        self._row_of.set(slot, row)
        self._of_row.set(row, slot)

    def forget(self, slot: int) -> None:
        """An item is gone."""
        self._unlink(slot)
        row = int(self._row_of.get(slot))
        if row != NONE:
            self._of_row.set(row, NOWHERE)
            self._row_of.set(slot, NONE)

    def index_slots(self, slots: Slots) -> Slots:
        """Index slots of catalogue slots, `NONE` where an item cannot be found."""
        return self._index_of.take(slots)

    def rows(self, slots: Slots) -> Slots:
        """Rows of catalogue slots, `NONE` for items that the bundle does not know."""
        return self._row_of.take(slots)

    def of_index(self, index_slots: Slots) -> Slots:
        """Catalogue slots of index slots, `NOWHERE` where no item lives."""
        return self._of_index.take(index_slots)

    def of_rows(self, rows: Slots) -> Slots:
        """Catalogue slots of rows, `NOWHERE` where no item lives."""
        return self._of_row.take(rows)

    def whole_index(self, size: int) -> Slots:
        """(T,) catalogue slots of all index slots."""
        return self._of_index.view(size)

    def _unlink(self, slot: int) -> None:
        index_slot = int(self._index_of.get(slot))
        if index_slot != NONE:
            self._of_index.set(index_slot, NOWHERE)
            self._index_of.set(slot, NONE)
            self.version += 1
