"""Columns of text or numbers to float64, with the rows that are no number told apart from those that say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A parsed column of N rows.

    Attributes:
        numbers: (N,) float64; NaN where absent or malformed.
        absent: (N,) the row says nothing (empty text, null).
        malformed: (N,) the row says something that is not a finite number.
    """

    numbers: npt.NDArray[np.float64]
    absent: npt.NDArray[np.bool_]
    malformed: npt.NDArray[np.bool_]


def parse_numbers(column: pa.Array) -> NumberColumn:
    """Read a column of any Arrow type that can tell a number: binary text, numbers, timestamps (as Unix seconds)."""
    if pa.types.is_timestamp(column.type):
        column = pc.divide(pc.cast(pc.cast(column, pa.timestamp("us")), pa.int64()), pa.scalar(1e6))
    if pa.types.is_binary(column.type):
        return _parse_text(column)
    absent = column.is_null().to_numpy(zero_copy_only=False)
    numbers = pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
    return _finished(numbers, absent)


def _parse_text(column: pa.Array) -> NumberColumn:
    empty = pc.or_kleene(column.is_null(), pc.equal(pc.binary_length(column), 0)).fill_null(True)  # noqa: FBT003
    filled = pc.if_else(empty, pa.scalar(b"0", pa.binary()), column)
    absent = empty.to_numpy(zero_copy_only=False)
    try:
        numbers = pc.cast(pc.cast(filled, pa.string()), pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:  # some row is no number: find out which, one by one
        numbers = _parse_each(filled.to_pylist())
    return _finished(np.where(absent, np.nan, numbers), absent)


def _parse_each(texts: Sequence[bytes]) -> npt.NDArray[np.float64]:
    numbers = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        try:
            numbers[row] = np.nan if b"_" in text else float(text)
        except ValueError:
            continue
    return numbers


def _finished(numbers: npt.NDArray[np.float64], absent: npt.NDArray[np.bool_]) -> NumberColumn:
    malformed = ~np.isfinite(numbers) & ~absent
    return NumberColumn(np.where(malformed, np.nan, numbers), absent, malformed)
