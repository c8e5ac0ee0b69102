"""How long a call waits before this process takes it up, and the refusal of new ones while that is too long.

gRPC takes up calls one after the other, in the order in which they came. A process that gets more of them than it can
answer works on calls whose deadlines are about to end, finishes none in time, and never catches up. No count of the
calls in hand shows that, because the waiting ones are not in hand yet. So the process calls itself now and then, and
knows from the answer how long the queue is. A refusal costs little, so the queue is empty again a moment later.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from shared.kernel.config import ConfigError
from shared.kernel.errors import ErrorReason, ServiceError
from shared.kernel.telemetry import BACKLOG_SECONDS

PERIOD_S: Final = 0.1
PATIENCE_S: Final = 10.0
SOCKET_BYTES: Final = 107
"""What Linux takes as the path of a Unix socket."""
SWITCHED_OFF: Final = "WINNOW_LIMIT_BACKLOG_MS to 0, without these calls"


class Backlog:
    """The queue of one server.

    Args:
        limit_ms: new calls are refused while calls wait longer than this; 0: never.
        ticks: monotonic seconds.
    """

    def __init__(self, limit_ms: float, ticks: Callable[[], float] = time.monotonic) -> None:
        self.limit_ms = limit_ms
        self._ticks = ticks
        self._measured_s = 0.0
        self._asked_s: float | None = None

    @property
    def delay_ms(self) -> float:
        """How long the latest own call waited; or waits already, when that is longer."""
        waits_s = 0.0 if self._asked_s is None else self._ticks() - self._asked_s
        return max(self._measured_s, waits_s) * 1e3

    def check(self) -> None:
        """Lets a call pass.

        Raises:
            ServiceError: OVERLOADED: it would keep waiting those that are in time.
        """
        if self.limit_ms and (delay_ms := self.delay_ms) > self.limit_ms:
            message = f"calls wait {delay_ms:.0f} ms before they are taken up; try again later, or run more replicas"
            raise ServiceError(ErrorReason.OVERLOADED, message, metadata={"limitMs": f"{self.limit_ms:g}"})

    async def measure(self, call: Callable[[], Awaitable[Any]]) -> None:
        """Measure once."""
        self._asked_s = self._ticks()
        try:
            await call()
        except grpc.aio.AioRpcError:
            pass  # a refusal has waited, too
        finally:
            self._measured_s, self._asked_s = self._ticks() - self._asked_s, None
        BACKLOG_SECONDS.set(self._measured_s)

    async def watch(self, address: str) -> None:
        """Measure for ever.

        Args:
            address: of the server, for this process only.
        """
        async with grpc.aio.insecure_channel(address) as channel:
            stub = HealthStub(channel)
            while True:
                await self.measure(lambda: stub.Check(HealthCheckRequest(), timeout=PATIENCE_S))
                await asyncio.sleep(PERIOD_S)


class PrivateAddress:
    """A Unix socket that only this user can reach, for a server's calls to itself; gone with `close`.

    Raises:
        ConfigError: There is no folder for it.
    """

    def __init__(self) -> None:
        remedy = f"set TMPDIR to a folder that can be written (Kubernetes: an emptyDir on /tmp), or {SWITCHED_OFF}"
        try:
            self._folder = TemporaryDirectory(prefix="winnow-")  # mode 0700
        except OSError as error:
            raise ConfigError(f"no temporary folder for the server's calls to itself: {error}; {remedy}") from error
        socket = Path(self._folder.name) / "self"
        if len(os.fsencode(socket)) > SOCKET_BYTES:
            self.close()
            raise ConfigError(f"{socket} is longer than the {SOCKET_BYTES} bytes of a socket's path; {remedy}")
        self.address = f"unix:{socket}"

    def close(self) -> None:
        """Take the socket away."""
        self._folder.cleanup()
