"""Runs one service alone, or several together: settings, logs, metrics, server, and the exit code of a process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final, Protocol, TypeVar

from pydantic import Field

from shared.kernel.clock import Clock, system_clock
from shared.kernel.config import ConfigError, ServiceSettings, load
from shared.kernel.process import App, ProcessSettings, process, run_until_signal
from shared.kernel.server import GrpcServer, Hosted
from shared.kernel.telemetry import serve_metrics

SETTINGS_EXIT: Final = 2
"""Exit code of a process that could not start as it was set up."""


class ListeningSettings(ServiceSettings):
    """What every service that listens has; each gives its own defaults."""

    address: str = Field("127.0.0.1:0", description="host:port that the service listens on")
    metrics_port: int = Field(0, ge=0, le=65535, description="port of Prometheus metrics; 0 takes a free one")


class OpenedService(Protocol):
    """A service that runs and can be hosted."""

    @property
    def hosted(self) -> Hosted:
        """What the server needs of it."""


S = TypeVar("S", bound=ListeningSettings)
OpenService = Callable[[S, Clock], AbstractAsyncContextManager[OpenedService]]


def run_service(name: str, settings_class: type[S], open_service: OpenService[S]) -> None:
    """Run one service, alone, until a signal; a setting that cannot be used ends the process with code 2."""

    @asynccontextmanager
    async def app() -> AsyncIterator[None]:
        settings = load(settings_class)
        async with open_service(settings, system_clock) as service, serving(settings, [service.hosted]):
            yield

    run_process(name, app)


def run_process(name: str, app: App) -> None:
    """Run an app until a signal, with logs and traces; prints what is wrong with the settings, if anything is."""
    try:
        with process(load(ProcessSettings), name):
            run_until_signal(app)
    except ConfigError as error:
        sys.stderr.write("".join(f"winnow: {problem}\n" for problem in error.problems))
        sys.exit(SETTINGS_EXIT)


@asynccontextmanager
async def serving(settings: ListeningSettings, hosted: Sequence[Hosted]) -> AsyncIterator[GrpcServer]:
    """Host services on one address, with their metrics beside it."""
    async with AsyncExitStack() as stack:
        stack.enter_context(serve_metrics(load(ProcessSettings).metrics_host, settings.metrics_port))
        yield await stack.enter_async_context(GrpcServer(settings.address, hosted))
