"""Workers of one port, as real processes: they share the calls, are replaced when killed, and end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from winnow.v1.recommendation_service_pb2 import TrendingItemsRequest
from winnow.v1.recommendation_service_pb2_grpc import RecommendationServiceStub

from tests.e2e.product import wait_until
from tests.ports import free_port

WORKERS, PATIENCE_S = 2, 60.0
STARTED = "server.started"
"""What each worker logs once it answers."""


@dataclass(frozen=True, slots=True)
class Front:
    """A front with nothing behind it: it answers, degraded."""

    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")

    @property
    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def wait_for_starts(self, count: int) -> None:
        wait_until(lambda: self.log.count(STARTED) == count, PATIENCE_S, lambda: self.log)


@contextmanager
def front(folder: Path, port: int, **variables: str) -> Iterator[Front]:
    folder.mkdir(exist_ok=True)
    environ = {
        **os.environ,
        "WINNOW_DATA_DIR": str(folder),
        "WINNOW_RECOMMENDATION_ADDRESS": f"127.0.0.1:{port}",
        "WINNOW_RECOMMENDATION_METRICS_PORT": "0",
        "WINNOW_RECOMMENDATION_WORKERS": str(WORKERS),
        "WINNOW_RECOMMENDATION_PAGE_TOKEN_SECRET": "sixteen characters or more",
        **variables,
    }
    command = [sys.executable, "-m", "services.recommendation"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=environ, stderr=log) as process:
        try:
            yield Front(process, folder / "log")
        finally:
            process.kill()  # its workers follow, as a test below shows


def running(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists() and not zombie(pid)]


def zombie(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    return True


def answering(port: int) -> bool:
    """Whether a new connection is answered."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with closing(grpc.insecure_channel(f"127.0.0.1:{port}", options)) as channel:
        try:
            RecommendationServiceStub(channel).TrendingItems(TrendingItemsRequest(), timeout=5)
        except grpc.RpcError as error:
            return error.code() is not grpc.StatusCode.UNAVAILABLE
    return True


def test_a_killed_worker_is_replaced_while_the_others_answer(tmp_path: Path) -> None:
    port = free_port()
    with front(tmp_path, port) as started:
        started.wait_for_starts(WORKERS)
        before = started.workers

        os.kill(before[0], signal.SIGKILL)

        started.wait_for_starts(WORKERS + 1)
        assert answering(port)
        assert len(started.workers) == WORKERS
        assert set(before) & set(started.workers) == {before[1]}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_workers_end_with_the_process_that_was_started(tmp_path: Path, number: signal.Signals) -> None:
    with front(tmp_path, free_port()) as started:
        started.wait_for_starts(WORKERS)
        workers = started.workers

        started.process.send_signal(number)

        assert started.process.wait(PATIENCE_S) == 0, started.log
        assert running(workers) == []
        assert started.log.count("server.stopped") == WORKERS


def test_no_worker_outlives_the_process_that_was_started(tmp_path: Path) -> None:
    with front(tmp_path, free_port()) as started:
        started.wait_for_starts(WORKERS)
        workers = started.workers

        started.process.kill()

        wait_until(lambda: not running(workers), PATIENCE_S)
    assert len(workers) == WORKERS


def test_workers_without_a_common_secret_of_page_tokens_do_not_start(tmp_path: Path) -> None:
    with front(tmp_path, free_port(), WINNOW_RECOMMENDATION_PAGE_TOKEN_SECRET="") as started:
        assert started.process.wait(PATIENCE_S) == 2

    assert "WINNOW_RECOMMENDATION_PAGE_TOKEN_SECRET" in started.log
    assert "2 workers need it" in started.log


def test_a_taken_port_is_an_error_also_when_workers_would_share_it(tmp_path: Path) -> None:
    port = free_port()
    with front(tmp_path / "first", port) as first:
        first.wait_for_starts(WORKERS)
        with front(tmp_path / "second", port) as second:
            assert second.process.wait(PATIENCE_S) == 2

    assert f"127.0.0.1:{port}" in second.log


def test_a_worker_that_cannot_work_as_it_is_set_up_ends_them_all(tmp_path: Path) -> None:
    (tmp_path / "surfaces").mkdir()
    with front(tmp_path, free_port(), WINNOW_RECOMMENDATION_SURFACES_DIR=str(tmp_path / "surfaces")) as started:
        assert started.process.wait(PATIENCE_S) == 2

    assert "WINNOW_RECOMMENDATION_SURFACES_DIR" in started.log
