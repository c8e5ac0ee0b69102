"""Runs one service alone, or several together: settings, logs, metrics, server, and the exit code of a process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Final, Protocol, TypeVar

import grpc
from pydantic import Field

from shared.kernel.client import ChannelOptions, open_channel
from shared.kernel.clock import Clock, system_clock
from shared.kernel.config import ConfigError, ServiceSettings, load
from shared.kernel.gate import Gate
from shared.kernel.limits import LimitSettings
from shared.kernel.process import App, ProcessSettings, process, run_until_signal
from shared.kernel.security import SecuritySettings, security_of
from shared.kernel.server import GrpcServer, Hosted, ServerOptions
from shared.kernel.telemetry import serve_metrics
from shared.kernel.workers import follow_starter, run_workers, worker_number

SETTINGS_EXIT: Final = 2
"""Exit code of a process that could not start as it was set up."""


class ListeningSettings(ServiceSettings):
    """What every service that listens has; each gives its own defaults."""

    address: str = Field("127.0.0.1:0", description="host:port that the service listens on")
    metrics_port: int = Field(0, ge=0, le=65535, description="port of Prometheus metrics; 0 takes a free one")
    health_address: str = Field(
        "", description="host:port that answers health checks in plain text, as Kubernetes asks them; empty: none"
    )


class SharedPortSettings(ListeningSettings):
    """Of a service that keeps nothing between requests that another process of it would need."""

    workers: int = Field(
        1,
        ge=1,
        le=256,
        description="processes that share the port of the service run alone; their metrics are at the metrics port "
        "and those behind it",
    )


class OpenedService(Protocol):
    """A service that runs and can be hosted."""

    @property
    def hosted(self) -> Hosted:
        """What the server needs of it."""


S = TypeVar("S", bound=ListeningSettings)
OpenService = Callable[[S, Clock], AbstractAsyncContextManager[OpenedService]]


def run_service(name: str, settings_class: type[S], open_service: OpenService[S]) -> None:
    """Run one service, alone, until a signal; a setting that cannot be used ends the process with code 2."""
    worker = worker_number()

    @asynccontextmanager
    async def app() -> AsyncIterator[None]:
        settings = load(settings_class)
        async with open_service(settings, system_clock) as service, serving(settings, [service.hosted], worker):
            yield

    if worker is not None:
        follow_starter()
    with ending_with_problems():
        settings = load(settings_class)
        if worker is None and isinstance(settings, SharedPortSettings) and settings.workers > 1:
            with process(load(ProcessSettings), name):
                sys.exit(run_workers(settings.workers, settings.address))
    run_process(name, app)


def run_process(name: str, app: App) -> None:
    """Run an app until a signal, with logs and traces; prints what is wrong with the settings, if anything is."""
    with ending_with_problems(), process(load(ProcessSettings), name):
        run_until_signal(app)


@contextmanager
def ending_with_problems() -> Iterator[None]:
    """Print what is wrong with the settings, if anything is, and end."""
    try:
        yield
    except ConfigError as error:
        sys.stderr.write("".join(f"winnow: {problem}\n" for problem in error.problems))
        sys.exit(SETTINGS_EXIT)


@asynccontextmanager
async def serving(
    settings: ListeningSettings, hosted: Sequence[Hosted], worker: int | None = None
) -> AsyncIterator[GrpcServer]:
    """Host services on one address, with their metrics beside it, as secure and as limited as the settings say.

    Args:
        settings: where.
        hosted: the services.
        worker: which of the processes this is that share the address; None: it has the address alone.

    Raises:
        ConfigError: An address is taken, or a certificate or the policy cannot be used.
    """
    security, limits = security_of(load(SecuritySettings)), load(LimitSettings)
    options = replace(_options(limits, reflection=security.reflection), reuse_port=worker is not None)
    metrics_port = settings.metrics_port and settings.metrics_port + (worker or 0)
    server = GrpcServer(settings.address, hosted, options, security.tls, Gate(security.policy, limits.rate()))
    async with AsyncExitStack() as stack:
        stack.enter_context(serve_metrics(load(ProcessSettings).metrics_host, metrics_port))
        await stack.enter_async_context(server)
        if settings.health_address:
            await stack.enter_async_context(_health_server(settings.health_address, hosted, options))
        yield server


@asynccontextmanager
async def connect(address: str, options: ChannelOptions | None = None) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel to another service, as secure as the settings say.

    Raises:
        ConfigError: A certificate cannot be used.
    """
    tls = security_of(load(SecuritySettings)).tls
    async with open_channel(address, replace(options or ChannelOptions(), tls=tls)) as channel:
        yield channel


def _options(limits: LimitSettings, *, reflection: bool) -> ServerOptions:
    return ServerOptions(
        limits=limits.requests(),
        reflection=reflection,
        connection_age_ms=round(limits.connection_age_minutes * 60_000),
        lame_duck_ms=limits.lame_duck_ms,
        drain_grace_ms=limits.drain_grace_ms,
    )


def _health_server(address: str, hosted: Sequence[Hosted], options: ServerOptions) -> GrpcServer:
    """The health of the services and nothing else: Kubernetes' probes have no certificate."""
    silent = [replace(each, register=lambda server: None) for each in hosted]
    shared = options.reuse_port
    return GrpcServer(address, silent, ServerOptions(reflection=False, drain_grace_ms=0, reuse_port=shared))
