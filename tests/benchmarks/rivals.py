"""Runs the programs that Winnow is compared with, each in a session of its own, and ends everything that they start."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from services.ranking.orphans import kill_marked

MARK = "WINNOW_BENCHMARK_RIVAL"
PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.1
ROOT = Path(__file__).parents[2]
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
"""Peers have an environment of their own: `make setup-peers`."""


@contextmanager
def running(command: Sequence[str], environ: Mapping[str, str], answers: Callable[[], bool]) -> Iterator[None]:
    """Run a program while this lasts; begins when it answers.

    Args:
        command: its arguments.
        environ: variables beside those of this process.
        answers: whether it does.

    Raises:
        RuntimeError: it ended, or did not answer in time; the message has its last words.
    """
    mark = secrets.token_hex(8)
    with tempfile.TemporaryFile() as output:
        program = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": _import_roots(), **environ, MARK: mark, "SPT_NOENV": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            give_up = time.monotonic() + PATIENCE_SECONDS
            while not answers():
                if program.poll() is not None or time.monotonic() > give_up:
                    output.seek(0)
                    words = output.read()[-4000:].decode(errors="replace")
                    raise RuntimeError(f"{' '.join(command)} does not answer ({program.poll()}):\n{words}")
                time.sleep(PAUSE_SECONDS)
            yield
        finally:
            kill_marked(f"{MARK}={mark}")
            program.wait()


def peers_python() -> str:
    """The interpreter of the peers' environment.

    Raises:
        SystemExit: there is none.
    """
    if not PEERS_PYTHON.exists():
        sys.exit(f"{PEERS_PYTHON} is missing; make it with `make setup-peers`")
    return str(PEERS_PYTHON)


def _import_roots() -> str:
    return os.pathsep.join((str(ROOT), str(ROOT / "shared" / "stubs")))
