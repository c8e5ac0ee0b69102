"""interactions.parquet: the same rules as the text form, for typed columns."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.trainer.datasets import DatasetError
from services.trainer.interchange_parquet import read_interactions_parquet

GOOD: dict[str, Any] = {
    "user_id": ["u1", "u2"],
    "item_id": ["i1", "i2"],
    "event_type": ["click", "rating"],
    "value": [None, 4.0],
    "timestamp": [5.0, 6.0],
}


def written(folder: Path, **columns: Any) -> Path:
    path = folder / "interactions.parquet"
    pq.write_table(pa.table(GOOD | columns), path)
    return path


def test_good_rows_are_taken(tmp_path: Path) -> None:
    events, report = read_interactions_parquet(written(tmp_path))

    assert (report.taken, report.refused) == (2, 0)
    assert events.user_names == ["u1", "u2"]
    assert np.isnan(events.values[0])
    assert events.values[1] == 4


def test_integer_ids_and_timestamps_and_dictionaries_are_understood(tmp_path: Path) -> None:
    moments = pa.array([datetime(1970, 1, 1, 0, 0, 5, 500_000, tzinfo=UTC)] * 2, pa.timestamp("ms", tz="UTC"))
    types = pa.array(["click", "view"]).dictionary_encode()

    events, report = read_interactions_parquet(
        written(tmp_path, user_id=[7, 8], event_type=types, timestamp=moments, value=pa.nulls(2))
    )

    assert report.taken == 2
    assert events.user_names == ["7", "8"]
    assert events.times_s.tolist() == [5.5, 5.5]


@pytest.mark.parametrize(
    ("column", "cells", "reason"),
    [
        ("value", [None, float("nan")], "value 'nan' is not a finite number"),
        ("timestamp", [1.0, None], "timestamp 'None' is not a number of Unix seconds"),
        ("timestamp", [1.0, 5e12], "it looks like milliseconds"),
        ("user_id", ["u1", None], "user_id is empty"),
        ("item_id", ["i1", "two\nlines"], "item_id holds a line break"),
        ("event_type", ["click", None], "unknown event type ''"),
    ],
)
def test_a_bad_row_is_refused_by_row_and_reason(tmp_path: Path, column: str, cells: list[Any], reason: str) -> None:
    events, report = read_interactions_parquet(written(tmp_path, **{column: cells}))

    assert len(events) == 1
    assert report.refused == 1
    assert report.examples[0].line == 2
    assert reason in report.examples[0].reason


def test_a_column_of_the_wrong_type_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"the column user_id of .* holds double; it must hold text or integers"):
        read_interactions_parquet(written(tmp_path, user_id=[1.5, 2.5]))


def test_a_missing_column_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "interactions.parquet"
    pq.write_table(pa.table({"user_id": ["u"]}), path)

    with pytest.raises(DatasetError, match="lacks the columns item_id, event_type, value, timestamp"):
        read_interactions_parquet(path)


def test_a_file_that_is_not_parquet_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "interactions.parquet"
    path.write_bytes(b"user_id,item_id\n")

    with pytest.raises(DatasetError, match=r"cannot read .* as Parquet"):
        read_interactions_parquet(path)
