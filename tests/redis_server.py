"""A real Redis server of the tests' own: on a free port, with its append-only file on, ended by its process id."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from pydantic import SecretStr

from services.feature.redis_connection import RedisPlace
from tests.ports import free_port

SLOTS = 16_384


class RedisServer:
    """A server that is started, killed and started again.

    Args:
        folder: of its files.
        options: of the command line, such as `--appendfsync`, `always`.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"redis://127.0.0.1:{self.port}/0"

    def place(self, namespace: str, *, cluster: bool = False) -> RedisPlace:
        """A namespace on it."""
        return RedisPlace(SecretStr(self.url), namespace, cluster)

    def client(self) -> redis.Redis:
        """A client of the test's own."""
        return redis.Redis.from_url(self.url)

    def start(self) -> None:
        """Returns when it answers."""
        binary = shutil.which("redis-server")
        assert binary, "redis-server is missing: sudo apt-get install -y redis-server (deploy/setup.sh dev does it)"
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--appendonly", "yes", "--save", "", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not self._answers():
            assert self._process.poll() is None, f"redis-server ended by itself: {' '.join(command)}"
            time.sleep(0.01)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait until it is gone."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def make_cluster(self) -> None:
        """Let the one node have every slot; returns when the cluster is whole."""
        with self.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
            while client.cluster("INFO")["cluster_state"] != "ok":
                time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """A running server until the block ends."""
    server = RedisServer(folder, *options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def redis_cluster(folder: Path) -> Iterator[RedisServer]:
    """A running cluster of one node."""
    with redis_server(folder, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        server.make_cluster()
        yield server
