"""Whatever a person gives to the command that cannot be used: one line that says what and what to do, and no trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEADER = "user_id,item_id,event_type,value,timestamp\n"


def winnow(data_dir: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Give one command."""
    return subprocess.run(
        [sys.executable, "-m", "services", *map(str, arguments)], env={**os.environ, "WINNOW_DATA_DIR": str(data_dir)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A data folder with one event in its log."""
    (tmp_path / "interactions.csv").write_text(f"{HEADER}ann,lamp,click,,1700000000\n")
    done = winnow(tmp_path / "data", "import", tmp_path / "interactions.csv", "--address", "127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    return tmp_path / "data"


def test_an_export_into_what_is_no_folder_is_refused_by_name(filled: Path) -> None:
    taken = filled.parent / "interactions.csv"

    done = winnow(filled, "export", taken, "--address", "127.0.0.1:1")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert f"cannot write to {taken}" in done.stderr
    assert "name another folder" in done.stderr


def test_a_registry_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    done = winnow(tmp_path / "file", "models", "list")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert f"registry {tmp_path / 'file' / 'registry'}: cannot read it" in done.stderr


@pytest.mark.parametrize(
    "command", [("status",), ("recommend", "--user", "ann"), ("record", "--user", "a", "--item", "b")]
)
def test_where_nobody_answers_the_remedy_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    done = winnow(tmp_path, *command, "--address", "127.0.0.1:1")

    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "start `winnow serve`, or name the address of one that runs with --address" in done.stderr
