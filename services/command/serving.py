"""`winnow serve`: every service in one process, or the named ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import Field

from services.command.output import fail, readable_errors
from shared.kernel.clock import system_clock
from shared.kernel.config import load
from shared.kernel.hosting import ListeningSettings, run_process, serving

if TYPE_CHECKING:
    from services.command.composition import Services


class OneProcessSettings(ListeningSettings):
    """Where all services together listen."""

    address: str = Field("127.0.0.1:50051", description="host:port of all services in one process")
    metrics_port: int = Field(
        9464, ge=0, le=65535, description="port of Prometheus metrics of all services in one process"
    )


def serve(
    services: Annotated[
        list[str] | None,
        typer.Argument(help="recommendation, candidate_generation, feature, ranking, feedback. None: all."),
    ] = None,
) -> None:
    """Serve until Ctrl-C. All services share one port and call each other directly; named ones keep their own ports."""
    from services.command.composition import NAMES

    if unknown := sorted(set(services or ()) - set(NAMES)):
        raise fail(f"there is no service {', '.join(unknown)}; there are {', '.join(NAMES)}", 2)
    names = services or NAMES
    with readable_errors():
        run_process("winnow", all_services if set(names) == set(NAMES) else lambda: named_services(names))


@asynccontextmanager
async def all_services() -> AsyncIterator[Services]:
    """Every service, hosted on one address."""
    from services.command.composition import NAMES, open_services
    from services.command.environment import warn_of_unknown_variables

    warn_of_unknown_variables()
    settings = one_process_settings()
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(open_services(NAMES, system_clock))
        await stack.enter_async_context(serving(settings, [hosted for _, hosted in services.hosted]))
        yield services


@asynccontextmanager
async def named_services(names: Collection[str]) -> AsyncIterator[None]:
    """The named services in one process, each hosted on its own address."""
    from services.command.composition import open_services

    async with open_services(names, system_clock) as services, AsyncExitStack() as stack:
        for settings, hosted in services.hosted:
            await stack.enter_async_context(serving(settings, [hosted]))
        yield


def one_process_settings() -> OneProcessSettings:
    """Where all services together listen."""
    return load(OneProcessSettings)
