"""Ending the processes that carry a mark, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest

from services.ranking.orphans import kill_marked, marked

SLEEPER = "import sys, time; print('up', flush=True); time.sleep(1000)"
PARENT = "import subprocess, sys;subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True).wait()"


@pytest.fixture
def mark() -> str:
    return f"WINNOW_TEST_MARK={uuid.uuid4().hex}"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def start(started: list[subprocess.Popen[str]], mark: str, *program: str) -> subprocess.Popen[str]:
    """Start a program with the mark in its environment; returns when it says that it is up."""
    name, _, value = mark.partition("=")
    command = [sys.executable, "-c", *program]
    process = subprocess.Popen(command, env=os.environ | {name: value}, stdout=subprocess.PIPE, text=True)
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_a_marked_process_is_found_and_ended(mark: str, started: list[subprocess.Popen[str]]) -> None:
    process = start(started, mark, SLEEPER)

    found, killed = marked(mark), kill_marked(mark)

    assert (found, killed) == ([process.pid], 1)
    assert process.wait() == -9
    assert marked(mark) == []


def test_descendants_in_sessions_of_their_own_are_ended_too(mark: str, started: list[subprocess.Popen[str]]) -> None:
    start(started, mark, PARENT, SLEEPER)

    assert len(marked(mark)) == 2
    assert kill_marked(mark) == 2
    assert marked(mark) == []


def test_a_mark_that_only_begins_alike_is_another(mark: str, started: list[subprocess.Popen[str]]) -> None:
    process = start(started, f"{mark}-other", SLEEPER)

    assert kill_marked(mark) == 0
    assert process.poll() is None


def test_the_caller_itself_is_never_among_them(mark: str) -> None:
    program = (
        "import os, sys; from services.ranking.orphans import kill_marked;print(kill_marked(sys.argv[1]), 'others')"
    )
    name, _, value = mark.partition("=")
    environ = os.environ | {name: value, "PYTHONPATH": os.pathsep.join(sys.path)}

    ended = subprocess.run(
        [sys.executable, "-c", program, mark], env=environ, capture_output=True, text=True, check=True
    )

    assert ended.stdout == "0 others\n"
