"""`interactions.csv[.gz]` to events, at the speed of Arrow's parser and with the tolerance of a patient clerk.

Blocks of plain lines go through Arrow; a block that holds a quote, a blank line or a lone carriage return is read line
by line instead, because there Arrow would let one bad line swallow its neighbours.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from services.trainer.datasets import DatasetError
from services.trainer.interchange_events import COLUMNS, EventCollector, RawBatch, RawEvents
from services.trainer.interchange_reports import ReadReport, RefusalLog
from services.trainer.interchange_text import TextBlock, read_blocks


def read_interactions_csv(path: Path) -> tuple[RawEvents, ReadReport]:
    """Read a file with a header line that names at least `COLUMNS`, in any order.

    Raises:
        DatasetError: no such file, no header, or a column is missing.
    """
    log = RefusalLog()
    collector = EventCollector(log)
    blocks = read_blocks(path, log)
    header, first = _header(path, next(blocks, TextBlock(1, b"")))
    collector.add(parse_rows(first, header, COLUMNS, log))
    for block in blocks:
        collector.add(parse_rows(block, header, COLUMNS, log))
    events = collector.finish()
    return events, log.report(str(path), len(events))


def _header(path: Path, block: TextBlock) -> tuple[list[str], TextBlock]:
    """The column names and the block without its first line."""
    line, _, rest = block.content.partition(b"\n")
    names = [name.strip() for name in next(csv.reader([line.decode("utf-8-sig", errors="replace")]), [])]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise DatasetError(
            f"{path} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            f"its first line must be {','.join(COLUMNS)}, it is {line[:200].decode(errors='replace')!r}"
        )
    if len(set(names)) != len(names):
        raise DatasetError(f"{path} names a column twice: {','.join(names)}")
    return names, TextBlock(block.first_line + 1, rest)


def parse_rows(block: TextBlock, header: Sequence[str], wanted: Sequence[str], log: RefusalLog) -> RawBatch:
    """The columns `wanted` of comma-separated lines whose fields are named by `header`."""
    content = block.content
    awkward = b'"' in content or b"\r" in content or b"\n\n" in content or content.startswith(b"\n")
    parse = _parse_lines if awkward or not content else _parse_plain
    return parse(block, header, wanted, log)


def _parse_plain(block: TextBlock, header: Sequence[str], wanted: Sequence[str], log: RefusalLog) -> RawBatch:
    skipped: list[int] = []

    def refuse(row: pacsv.InvalidRow) -> str:
        line = block.first_line + row.number - 1
        skipped.append(row.number - 1)
        log.refuse(line, _wrong_count(row.actual_columns, row.expected_columns))
        return "skip"

    table = pacsv.read_csv(
        pa.BufferReader(block.content),
        read_options=pacsv.ReadOptions(
            column_names=list(header), use_threads=False, block_size=len(block.content) + 1
        ),
        parse_options=pacsv.ParseOptions(quote_char=False, double_quote=False, invalid_row_handler=refuse),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.binary()), strings_can_be_null=False, include_columns=wanted
        ),
    )  # fmt: skip
    rows = np.delete(np.arange(table.num_rows + len(skipped)), skipped)
    columns = {name: table.column(name).combine_chunks() for name in wanted}
    return RawBatch(columns, rows + block.first_line)


def _parse_lines(block: TextBlock, header: Sequence[str], wanted: Sequence[str], log: RefusalLog) -> RawBatch:
    kept = list(_split_lines(block, len(header), log))
    places = {name: header.index(name) for name in wanted}
    columns = {
        name: pa.array((row[place].encode("utf-8", "surrogateescape") for _, row in kept), pa.binary(), size=len(kept))
        for name, place in places.items()
    }
    return RawBatch(columns, np.array([line for line, _ in kept], dtype=np.int64))


def _split_lines(block: TextBlock, columns: int, log: RefusalLog) -> Iterator[tuple[int, list[str]]]:
    for number, line in block.lines():
        try:
            row = next(csv.reader([line.decode("utf-8", "surrogateescape")], strict=True))
        except csv.Error as error:
            log.refuse(number, f"the quotes of this line do not match: {error}")
            continue
        if len(row) != columns:
            log.refuse(number, _wrong_count(len(row), columns))
            continue
        yield number, row


def _wrong_count(found: int, expected: int) -> str:
    return f"{found} columns where the header has {expected}"
