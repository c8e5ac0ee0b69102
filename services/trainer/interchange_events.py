"""One batch of raw interaction rows to checked columns: every row is taken or refused with its reason.

Ids and event types are judged once per distinct value, numbers by the column, so that good rows cost no Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from services.trainer.interchange_ids import REFUSED_CODE, IdEncoder, id_problem
from services.trainer.interchange_numbers import NumberColumn, parse_numbers
from services.trainer.interchange_reports import EXAMPLES_KEPT, RefusalLog
from shared.domain.events import EventType

COLUMNS = ("user_id", "item_id", "event_type", "value", "timestamp")
MAX_TIME_S = 4_102_444_800.0
"""2100-01-01: later instants are milliseconds in disguise, or a broken clock."""


@dataclass(frozen=True, slots=True)
class RawEvents:
    """E events in file order, with ids by code.

    Attributes:
        user_names, item_names: the ids that the codes point into.
        user_codes, item_codes: (E,) int32.
        event_types: (E,) int8.
        values: (E,) float32, NaN = none.
        times_s: (E,) float64.
    """

    user_names: list[str]
    item_names: list[str]
    user_codes: npt.NDArray[np.int32]
    item_codes: npt.NDArray[np.int32]
    event_types: npt.NDArray[np.int8]
    values: npt.NDArray[np.float32]
    times_s: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.user_codes)


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Rows as a file gives them: `columns[name]` is an Arrow array (ids and types binary), `lines` says where."""

    columns: dict[str, pa.Array]
    lines: npt.NDArray[np.int64]


@dataclass(slots=True)
class EventCollector:
    """Takes batch after batch and gives the events at the end."""

    log: RefusalLog
    _users: IdEncoder = field(default_factory=IdEncoder)
    _items: IdEncoder = field(default_factory=IdEncoder)
    _parts: list[tuple[npt.NDArray[np.generic], ...]] = field(default_factory=list)

    def add(self, batch: RawBatch) -> None:
        """Check a batch; keep its good rows, log the others."""
        users = self._users.encode(batch.columns["user_id"])
        items = self._items.encode(batch.columns["item_id"])
        types = _encode_types(batch.columns["event_type"])
        values, times = parse_numbers(batch.columns["value"]), parse_numbers(batch.columns["timestamp"])
        good = (users >= 0) & (items >= 0) & (types > 0) & _values_fit(values) & _times_fit(times)
        self._parts.append(
            (users[good], items[good], types[good], values.numbers[good].astype(np.float32), times.numbers[good])
        )
        self._refuse(batch, np.flatnonzero(~good))

    def finish(self) -> RawEvents:
        """All events that were taken, in the order in which they were given."""
        empty = tuple(np.empty(0, dtype) for dtype in (np.int32, np.int32, np.int8, np.float32, np.float64))
        columns = [np.concatenate(column) for column in zip(empty, *self._parts, strict=True)]
        return RawEvents(self._users.names, self._items.names, *columns)

    def _refuse(self, batch: RawBatch, rows: npt.NDArray[np.int64]) -> None:
        explained, counted = rows[:EXAMPLES_KEPT], rows[EXAMPLES_KEPT:]
        for row in explained:
            problem = next(_problems({name: column[row].as_py() for name, column in batch.columns.items()}))
            self.log.refuse(int(batch.lines[row]), problem)
        self.log.refused += len(counted)


def _encode_types(column: pa.Array) -> npt.NDArray[np.int8]:
    encoded = column.dictionary_encode()
    known = {kind.label.encode(): int(kind) for kind in EventType if kind}
    codes = np.array([*(known.get(raw, REFUSED_CODE) for raw in encoded.dictionary.to_pylist()), -1], dtype=np.int8)
    places: npt.NDArray[np.int64] = encoded.indices.fill_null(len(codes) - 1).to_numpy(zero_copy_only=False)
    return codes[places]


def _values_fit(values: NumberColumn) -> npt.NDArray[np.bool_]:
    with np.errstate(over="ignore"):
        too_large = np.isinf(values.numbers.astype(np.float32))
    return ~values.malformed & ~too_large


def _times_fit(times: NumberColumn) -> npt.NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        return (times.numbers >= 0) & (times.numbers < MAX_TIME_S)


def _problems(row: dict[str, object]) -> Iterator[str]:
    """Why a row is refused, in the order of the columns; the same rules as above, told for one row."""
    for name in ("user_id", "item_id"):
        raw = row[name]
        if problem := id_problem(raw if isinstance(raw, bytes) else None):
            yield f"{name} {problem}"
    label = row["event_type"].decode(errors="replace") if isinstance(row["event_type"], bytes) else ""
    try:
        EventType.from_label(label)
    except ValueError as error:
        yield str(error)
    yield from _number_problems(row)


def _number_problems(row: dict[str, object]) -> Iterator[str]:
    shown = {name: _shown(row[name]) for name in ("value", "timestamp")}
    times = parse_numbers(pa.array([row["timestamp"]]))
    if times.absent[0] or times.malformed[0]:
        yield f"timestamp {shown['timestamp']} is not a number of Unix seconds"
    elif not _times_fit(times)[0]:
        unit = "; it looks like milliseconds" if times.numbers[0] >= MAX_TIME_S else ""
        yield f"timestamp {shown['timestamp']} is outside 1970 to 2099 in Unix seconds{unit}"
    yield f"value {shown['value']} is not a finite number that fits 32 bits (leave it empty for none)"


def _shown(cell: object) -> str:
    text = cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)
    return repr(text[:40])
