"""The way of log lines out of replicas."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from services.ranking.log_pipe import LIMIT_CHARACTERS, LogPipe, forward, make_log_pipe


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    return make_log_pipe(tmp_path / "pipe")


def test_lines_of_several_writers_arrive_whole(pipe: Path) -> None:
    source, target = os.pipe()
    threading.Thread(target=forward, args=(pipe, target), daemon=True).start()

    for name in ("one", "two"):
        writer = LogPipe(pipe, terminal=False)
        writer.write(f"{name}\n")
        writer.close()

    with os.fdopen(source, encoding="utf-8") as lines:
        assert [lines.readline(), lines.readline()] == ["one\n", "two\n"]


def test_a_writer_never_waits_for_a_reader_that_is_not_there(pipe: Path) -> None:
    writer = LogPipe(pipe, terminal=False)

    written = [writer.write("x" * 10_000) for _ in range(1000)]

    assert 0 in written
    assert sum(written) < 3 * LIMIT_CHARACTERS


@pytest.mark.parametrize("terminal", [True, False])
def test_it_is_a_terminal_when_its_other_end_is(pipe: Path, terminal: bool) -> None:
    with LogPipe(pipe, terminal=terminal) as writer:
        assert writer.isatty() is terminal


def test_the_pipe_is_the_owners_alone_and_replaces_an_old_one(tmp_path: Path) -> None:
    make_log_pipe(tmp_path / "pipe")

    status = make_log_pipe(tmp_path / "pipe").stat()

    assert stat.S_ISFIFO(status.st_mode)
    assert stat.S_IMODE(status.st_mode) == 0o600
