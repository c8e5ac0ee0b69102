"""Runs one service alone, or several together: settings, logs, metrics, server, and the exit code of a process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
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

SETTINGS_EXIT: Final = 2
"""Exit code of a process that could not start as it was set up."""


class ListeningSettings(ServiceSettings):
    """What every service that listens has; each gives its own defaults."""

    address: str = Field("127.0.0.1:0", description="host:port that the service listens on")
    metrics_port: int = Field(0, ge=0, le=65535, description="port of Prometheus metrics; 0 takes a free one")
    health_address: str = Field(
        "", description="host:port that answers health checks in plain text, as Kubernetes asks them; empty: none"
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
    """Host services on one address, with their metrics beside it, as secure and as limited as the settings say.

    Raises:
        ConfigError: An address is taken, or a certificate or the policy cannot be used.
    """
    security, limits = security_of(load(SecuritySettings)), load(LimitSettings)
    options = _options(limits, reflection=security.reflection)
    server = GrpcServer(settings.address, hosted, options, security.tls, Gate(security.policy, limits.rate()))
    async with AsyncExitStack() as stack:
        stack.enter_context(serve_metrics(load(ProcessSettings).metrics_host, settings.metrics_port))
        await stack.enter_async_context(server)
        if settings.health_address:
            await stack.enter_async_context(_health_server(settings.health_address, hosted))
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


def _health_server(address: str, hosted: Sequence[Hosted]) -> GrpcServer:
    """The health of the services and nothing else: Kubernetes' probes have no certificate."""
    silent = [replace(each, register=lambda server: None) for each in hosted]
    return GrpcServer(address, silent, ServerOptions(reflection=False, drain_grace_ms=0))
