"""A data set to interchange files. Reading them back gives the same data set: order, details and all.

The name of a file tells its form: `.csv`, `.jsonl` (either with `.gz` behind it) or `.parquet`.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from services.trainer.datasets import Dataset, Interactions
from services.trainer.interchange_events import COLUMNS
from services.trainer.interchange_records import record_of
from shared.domain.events import EventType
from shared.domain.items import Item, User

Form = Literal["text", "text-gz", "parquet"]
_SUFFIXES: dict[Form, tuple[str, str]] = {
    "text": (".csv", ".jsonl"),
    "text-gz": (".csv.gz", ".jsonl.gz"),
    "parquet": (".parquet", ".parquet"),
}
_ATTRIBUTES = pa.list_(
    pa.struct([("name", pa.string()), ("text", pa.string()), ("number", pa.float64()), ("flag", pa.bool_())])
)
_VECTORS = pa.list_(
    pa.struct([("modality", pa.string()), ("encoder_id", pa.string()), ("content_hash", pa.string()),
               ("values", pa.list_(pa.float32()))])
)  # fmt: skip
_TYPED_COLUMNS = {"attributes": _ATTRIBUTES, "vectors": _VECTORS}


def write_folder(dataset: Dataset, folder: Path, form: Form = "text-gz") -> tuple[Path, Path, Path]:
    """Write interactions, items and users; gives the three files. A file of that name is replaced as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    table_suffix, record_suffix = _SUFFIXES[form]
    interactions, items, users = (
        folder / f"{noun}{suffix}"
        for noun, suffix in (("interactions", table_suffix), ("items", record_suffix), ("users", record_suffix))
    )
    write_interactions(dataset, interactions)
    write_details(dataset.item_details, items)
    write_details(dataset.user_details, users)
    return interactions, items, users


def write_interactions(dataset: Dataset, path: Path) -> None:
    """Write the events in time order, so that row order breaks ties as it does in memory."""
    table = _event_table(dataset)
    with _replacing(path) as stream:
        if path.suffix == ".parquet":
            pq.write_table(table, stream)
            return
        stream.write((",".join(COLUMNS) + "\n").encode())
        _write_rows(table, stream)


def write_details(details: Sequence[Item] | Sequence[User], path: Path) -> None:
    """Write items or users, one record each, in row order."""
    records = (record_of(detail) for detail in details)
    with _replacing(path) as stream:
        if path.suffix == ".parquet":
            pq.write_table(_record_table(list(records)), stream)
            return
        stream.writelines(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def _event_table(dataset: Dataset) -> pa.Table:
    events = dataset.interactions
    labels = pa.array([kind.label if kind else "" for kind in EventType])
    return pa.table({
        "user_id": _names(dataset.users.ids, events.user_rows),
        "item_id": _names(dataset.items.ids, events.item_rows),
        "event_type": labels.take(pa.array(events.event_types)),
        "value": pa.array(events.values, mask=np.isnan(events.values)),
        "timestamp": _times(events),
    })  # fmt: skip


def _names(ids: Sequence[str], rows: np.ndarray[Any, np.dtype[np.int32]]) -> pa.Array:
    return pa.array(ids, pa.string()).take(pa.array(rows))


def _times(events: Interactions) -> pa.Array:
    whole = events.times_s.astype(np.int64)
    return pa.array(whole if np.array_equal(whole, events.times_s) else events.times_s)


def _write_rows(table: pa.Table, stream: BinaryIO) -> None:
    special = any(
        pc.any(pc.match_substring(table.column(name), mark)).as_py()
        for name in ("user_id", "item_id")
        for mark in (",", '"')
    )
    quoting = "needed" if special else "none"  # "needed" quotes every text, which is larger and slower to read
    pacsv.write_csv(table, stream, pacsv.WriteOptions(include_header=False, quoting_style=quoting))


def _record_table(records: list[dict[str, Any]]) -> pa.Table:
    for record in records:
        if "attributes" in record:
            record["attributes"] = [_attribute_cells(name, value) for name, value in record["attributes"].items()]
    names = list(dict.fromkeys(name for record in records for name in record))
    return pa.table({
        name: pa.array((record.get(name) for record in records), _TYPED_COLUMNS.get(name), size=len(records))
        for name in names
    })  # fmt: skip


def _attribute_cells(name: str, value: object) -> dict[str, object]:
    if isinstance(value, bool):
        return {"name": name, "flag": value}
    return {"name": name, "text": value} if isinstance(value, str) else {"name": name, "number": value}


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its place only when it is complete, compressed where its name ends in `.gz`."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as plain:
            if path.suffix == ".gz":
                # No name and no time inside: the same data give the same bytes.
                with gzip.GzipFile(filename="", fileobj=plain, mode="wb", compresslevel=6, mtime=0) as stream:
                    yield cast("BinaryIO", stream)
            else:
                yield plain
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
