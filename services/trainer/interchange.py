"""Interchange files (DESIGN section 2): a folder, or single files, to a data set with a report for each file.

`interactions.csv[.gz]` or `.parquet` holds `user_id,item_id,event_type,value,timestamp` (Unix seconds; among equal
times the earlier row is the earlier event); `items.jsonl[.gz]` or `.parquet` and, if you have it, `users.jsonl[.gz]`
or `.parquet` hold one record a line. A bad row is refused with its line and reason, the others are taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.trainer.datasets import Dataset, DatasetError
from services.trainer.datasets_assembly import assemble
from services.trainer.interchange_catalogue import read_items, read_users
from services.trainer.interchange_csv import read_interactions_csv
from services.trainer.interchange_events import RawEvents
from services.trainer.interchange_parquet import read_interactions_parquet
from services.trainer.interchange_reports import ReadReport
from shared.domain.items import Item, User

_TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet")
_RECORD_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class InterchangeFiles:
    """Where the three files are; None where there is none."""

    interactions: Path
    items: Path | None = None
    users: Path | None = None

    @classmethod
    def in_folder(cls, folder: Path) -> InterchangeFiles:
        """Find the files of a folder.

        Raises:
            DatasetError: there is no file of interactions, or two forms of one file.
        """
        interactions = _only(folder, "interactions", _TABLE_SUFFIXES)
        if interactions is None:
            wanted = ", ".join(f"interactions{suffix}" for suffix in _TABLE_SUFFIXES)
            raise DatasetError(f"{folder} holds none of {wanted}")
        return cls(interactions, _only(folder, "items", _RECORD_SUFFIXES), _only(folder, "users", _RECORD_SUFFIXES))


def read_files(files: InterchangeFiles, name: str) -> tuple[Dataset, tuple[ReadReport, ...]]:
    """Read what there is and assemble it.

    Raises:
        DatasetError: a file is missing or unusable as a whole, or no row of the interactions could be taken.
    """
    events, report = read_interactions(files.interactions)
    reports = [report]
    items: tuple[Item, ...] = ()
    users: tuple[User, ...] = ()
    if files.items:
        items, report = read_items(files.items)
        reports.append(report)
    if files.users:
        users, report = read_users(files.users)
        reports.append(report)
    if not len(events):
        raise DatasetError(f"no row can be used: {reports[0].summary()}")
    return assemble(events, items, users, name), tuple(reports)


def read_interactions(path: Path) -> tuple[RawEvents, ReadReport]:
    """Read interactions in the form that the name of the file tells.

    Raises:
        DatasetError: the name tells no known form, or the file is unusable as a whole.
    """
    if path.name.endswith(".parquet"):
        return read_interactions_parquet(path)
    if path.name.endswith((".csv", ".csv.gz")):
        return read_interactions_csv(path)
    raise DatasetError(f"{path} is of no known form; its name must end in one of {', '.join(_TABLE_SUFFIXES)}")


def _only(folder: Path, noun: str, suffixes: tuple[str, ...]) -> Path | None:
    found = [path for suffix in suffixes if (path := folder / f"{noun}{suffix}").is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DatasetError(f"{folder} holds {names}: keep one of them, or name the file that you mean")
    return found[0] if found else None
