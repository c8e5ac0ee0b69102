"""One process from its first log line to its exit code, the same for every service."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Final, Literal

import structlog
from pydantic import Field, SecretStr

from shared.kernel.config import ServiceSettings
from shared.kernel.garbage import keep_what_is_there, look_seldom
from shared.kernel.logs import configure_logs
from shared.kernel.slowness import set_slow_ms
from shared.kernel.tracing import configure_tracing

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
SIGNAL_EXIT: Final = 128
"""A process that a signal ends has this plus the signal's number as its exit code, by convention of shells."""

App = Callable[[], AbstractAsyncContextManager[object]]

log = structlog.get_logger()


class ProcessSettings(ServiceSettings):
    """What every process of Winnow has in common."""

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_pseudonym_key: SecretStr | None = Field(
        None, description="makes pseudonyms in logs the same in all processes that share it; default: new at each start"
    )
    metrics_host: str = Field("127.0.0.1", description="address that Prometheus metrics are served on")
    tracing_otlp_endpoint: str = Field(
        "", description="OpenTelemetry collector, such as http://localhost:4317; empty: no traces"
    )
    tracing_sample_ratio: float = Field(
        1.0, ge=0, le=1, description="share of requests traced, where the caller has not decided"
    )
    slow_ms: float = Field(
        500,
        ge=0,
        description="a request that takes longer is logged with its stages, and traced whatever the ratio; 0: none",
    )


@contextmanager
def process(settings: ProcessSettings, name: str) -> Iterator[None]:
    """Sets up logs and traces for the process called `name`."""
    key = settings.log_pseudonym_key.get_secret_value() if settings.log_pseudonym_key else ""
    configure_logs(settings.log_level, sys.stderr, key)
    set_slow_ms(settings.slow_ms)
    with configure_tracing(name, settings.tracing_otlp_endpoint, settings.tracing_sample_ratio):
        yield


def run_until_signal(app: App) -> None:
    """Opens `app`, waits for SIGTERM or SIGINT, closes it and returns; a second signal ends the process at once."""
    look_seldom()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_until_signal(app))


async def _until_signal(app: App) -> None:
    life = _Life()
    life.listen()
    task = asyncio.create_task(life.live(app))
    life.opening = task
    try:
        await task
    except asyncio.CancelledError:
        if not life.stopping.is_set():
            raise


class _Life:
    """The states of a process: opening, open, stopping."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.opening: asyncio.Task[None] | None = None

    async def live(self, app: App) -> None:
        async with app():
            self.opening = None
            keep_what_is_there()
            self.listen()  # again: libraries such as Ray install handlers of their own while the app opens
            log.info("process.ready")
            await self.stopping.wait()

    def listen(self) -> None:
        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if self.stopping.is_set():
            os._exit(SIGNAL_EXIT + number)
        log.info("process.stopping", signal=number.name)
        self.stopping.set()
        if self.opening:
            self.opening.cancel()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return uvloop.new_event_loop
