"""`items.jsonl[.gz]`, `users.jsonl[.gz]` and their Parquet forms to domain objects."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from services.trainer.interchange_parquet import read_records_parquet
from services.trainer.interchange_records import item_from_record, user_from_record
from services.trainer.interchange_reports import ReadReport, RefusalLog
from services.trainer.interchange_text import read_blocks
from shared.domain.items import Item, User

Detail = TypeVar("Detail", Item, User)


def read_items(path: Path) -> tuple[tuple[Item, ...], ReadReport]:
    """Every usable item, in file order; of an id that comes twice the later record counts.

    Raises:
        DatasetError: no such file, or not Parquet though its name says so.
    """
    return _read(path, "item_id", item_from_record, lambda item: item.item_id)


def read_users(path: Path) -> tuple[tuple[User, ...], ReadReport]:
    """Every usable user, in file order; of an id that comes twice the later record counts.

    Raises:
        DatasetError: no such file, or not Parquet though its name says so.
    """
    return _read(path, "user_id", user_from_record, lambda user: user.user_id)


def _read(
    path: Path, id_field: str, from_record: Callable[[object], Detail], id_of: Callable[[Detail], str]
) -> tuple[tuple[Detail, ...], ReadReport]:
    log = RefusalLog()
    kept: dict[str, tuple[int, Detail]] = {}
    parquet = path.suffix == ".parquet"
    records = read_records_parquet(path, log, id_field) if parquet else _json_records(path, log)
    for line, record in records:
        try:
            detail = from_record(record)
        except (ValueError, OverflowError) as error:
            log.refuse(line, str(error))
            continue
        if earlier := kept.pop(id_of(detail), None):
            log.refuse(earlier[0], f"{id_field} {id_of(detail)!r} comes again in line {line}, which counts")
        kept[id_of(detail)] = (line, detail)
    return tuple(detail for _, detail in kept.values()), log.report(str(path), len(kept))


def _json_records(path: Path, log: RefusalLog) -> Iterator[tuple[int, object]]:
    for block in read_blocks(path, log):
        for line, content in block.lines():
            try:
                yield line, json.loads(content.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                log.refuse(line, f"the line is not JSON: {error}")
