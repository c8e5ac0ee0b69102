"""Attributes in columns: a condition on 100,000 items is a handful of array comparisons.

A column is made when a filter first asks for its attribute and kept up to date from then on, so items with thousands
of attributes that nobody filters by cost nothing here.

S slots.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from services.candidate_generation.columns import Column
from shared.domain.conditions import AttributeCondition, Comparison
from shared.domain.items import Item, Scalar

Mask = npt.NDArray[np.bool_]

_ABSENT, _TEXT, _NUMBER, _TRUTH = range(4)
_MOST_COLUMNS = 64

_ORDER: dict[Comparison, Callable[[Any, Any], Any]] = {
    Comparison.LESS: operator.lt,
    Comparison.LESS_OR_EQUAL: operator.le,
    Comparison.GREATER: operator.gt,
    Comparison.GREATER_OR_EQUAL: operator.ge,
}
_NEGATED = frozenset({Comparison.NOT_EQUAL, Comparison.NOT_IN})


class AttributeColumn:
    """One attribute of every item: its kind (text, number, truth value or absent) and its value."""

    def __init__(self) -> None:
        self._kinds = Column(np.int8, _ABSENT)
        self._values = Column(np.float64)  # the number, the truth value as 0 or 1, or the text's code
        self._codes: dict[str, int] = {}

    def set(self, slot: int, value: Scalar | None) -> None:
        """Set the attribute of one item; None = it has none."""
        kind = _kind(value)
        self._kinds.set(slot, kind)
        if isinstance(value, str):
            self._values.set(slot, self._codes.setdefault(value, len(self._codes)))
        elif value is not None:
            self._values.set(slot, float(value))

    def fulfilling(self, condition: AttributeCondition, size: int) -> Mask:
        """(S,) which items fulfil a condition on this attribute: as `AttributeCondition.holds`."""
        kinds, values = self._kinds.view(size), self._values.view(size)
        fulfilled = np.zeros(size, np.bool_)
        for kind in (_TEXT, _NUMBER, _TRUTH):
            operands = [operand for operand in condition.operands if _kind(operand) == kind]
            if operands:
                fulfilled |= (kinds == kind) & self._compared(kind, condition.comparison, operands, values)
        return fulfilled

    def _compared(
        self, kind: int, comparison: Comparison, operands: list[Scalar], values: npt.NDArray[np.float64]
    ) -> Mask:
        if comparison in _ORDER:
            if kind == _TEXT:
                return np.zeros(len(values), np.bool_)
            return np.asarray(_ORDER[comparison](values, float(operands[0])), np.bool_)
        wanted = [self._codes.get(op, -1) if isinstance(op, str) else float(op) for op in operands]
        among = values == wanted[0] if len(wanted) == 1 else np.isin(values, wanted)
        return ~among if comparison in _NEGATED else among


class AttributeColumns:
    """The columns that filters asked for lately.

    Args:
        items: every item of the catalogue with its slot; read once for each new column.
    """

    def __init__(self, items: Callable[[], Iterable[tuple[int, Item]]]) -> None:
        self._items = items
        self._columns: OrderedDict[str, AttributeColumn] = OrderedDict()

    def changed(self, slot: int, new: Item) -> None:
        """An item's content is new."""
        for name, column in self._columns.items():
            column.set(slot, new.attributes.get(name))

    def fulfilling(self, condition: AttributeCondition, size: int) -> Mask:
        """(S,) which items fulfil a condition."""
        column = self._columns.get(condition.name) or self._read(condition.name)
        self._columns.move_to_end(condition.name)
        return column.fulfilling(condition, size)

    def _read(self, name: str) -> AttributeColumn:
        column = AttributeColumn()
        for slot, item in self._items():
            column.set(slot, item.attributes.get(name))
        self._columns[name] = column
        if len(self._columns) > _MOST_COLUMNS:
            self._columns.popitem(last=False)
        return column


def _kind(value: Scalar | None) -> int:
    """As the domain's conditions: an int counts as a number, a bool does not."""
    if value is None:
        return _ABSENT
    if isinstance(value, str):
        return _TEXT
    return _TRUTH if isinstance(value, bool) else _NUMBER
