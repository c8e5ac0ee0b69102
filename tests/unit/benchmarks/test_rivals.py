"""Programs that are compared with: nothing of them is left when the comparison ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks.rivals import running

FAMILY = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(600)
"""


def test_the_children_of_a_program_end_with_it(tmp_path: Path) -> None:
    note = tmp_path / "child"

    with running([sys.executable, "-c", FAMILY, str(note)], {}, lambda: note.exists() and note.read_text() != ""):
        child = int(note.read_text())
        lived = alive(child)

    assert lived
    assert not alive(child)


def test_a_program_that_ends_is_told_with_its_last_words() -> None:
    with (
        pytest.raises(RuntimeError, match="no such bundle"),
        running([sys.executable, "-c", "import sys; sys.exit('no such bundle')"], {}, lambda: False),
    ):
        pass


def alive(pid: int) -> bool:
    """Whether a process runs: one that ended may wait for its parent to be told."""
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
