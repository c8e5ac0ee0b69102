"""`interactions.parquet` to events, and any Parquet table to plain records, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.trainer.datasets import DatasetError
from services.trainer.interchange_events import COLUMNS, EventCollector, RawBatch, RawEvents
from services.trainer.interchange_reports import ReadReport, RefusalLog

BATCH_ROWS = 1 << 18
_TEXT_COLUMNS = ("user_id", "item_id", "event_type")


def read_interactions_parquet(path: Path) -> tuple[RawEvents, ReadReport]:
    """Read a table with at least `COLUMNS`. Ids may be text or integers, times numbers of seconds or timestamps.

    Raises:
        DatasetError: no such file, not Parquet, a column is missing or of a type that cannot hold what it is for.
    """
    log = RefusalLog()
    collector = EventCollector(log)
    rows = 0
    for batch in _batches(path, log, COLUMNS):
        columns = {name: _prepared(path, name, batch.column(name)) for name in COLUMNS}
        collector.add(RawBatch(columns, np.arange(rows + 1, rows + batch.num_rows + 1)))
        rows += batch.num_rows
    events = collector.finish()
    return events, log.report(str(path), len(events))


def read_records_parquet(path: Path, log: RefusalLog, required: str) -> Iterator[tuple[int, object]]:
    """Row number (from 1) and record of every row of a table that has the column `required`."""
    row = 0
    for batch in _batches(path, log, (required,), only_required=False):
        for record in batch.to_pylist():
            row += 1
            yield row, record


def _batches(
    path: Path, log: RefusalLog, required: Sequence[str], *, only_required: bool = True
) -> Iterator[pa.RecordBatch]:
    rows = 0
    try:
        with pq.ParquetFile(path) as table:
            _demand_columns(path, table.schema_arrow.names, required)
            for batch in table.iter_batches(BATCH_ROWS, columns=list(required) if only_required else None):
                rows += batch.num_rows
                yield batch
    except (OSError, pa.ArrowException) as error:
        if not rows:
            raise DatasetError(f"cannot read {path} as Parquet: {error}") from error
        log.refuse(rows + 1, f"the file is damaged after this row and the rest is lost: {error}")


def _demand_columns(path: Path, names: Sequence[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in names]
    if missing:
        raise DatasetError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(names)}")


def _prepared(path: Path, name: str, column: pa.Array) -> pa.Array:
    """Text as binary; numbers and timestamps as they are."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if name in _TEXT_COLUMNS and pa.types.is_integer(kind):
        return pc.cast(pc.cast(column, pa.string()), pa.binary())
    if any(is_text(kind) for is_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)):
        return pc.cast(column, pa.binary())
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    is_time = name == "timestamp" and pa.types.is_timestamp(kind)
    if name not in _TEXT_COLUMNS and (numeric or is_time or pa.types.is_null(kind)):
        return column
    wanted = "text or integers" if name in _TEXT_COLUMNS else "numbers"
    raise DatasetError(f"the column {name} of {path} holds {kind}; it must hold {wanted}")
