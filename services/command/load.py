"""`winnow bench`: how fast a running Winnow answers under a load that does not wait for it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.command.options import DEFAULT_ADDRESS, Address, Json
from services.command.output import Bars, console, fail, readable_errors, show, table
from shared.kernel.errors import ServiceError

if TYPE_CHECKING:
    from services.command.bench.caller import Answered, Load

MOST_REQUESTS = 5_000_000
"""Each answered one takes 16 bytes until the end."""


def bench(
    rate: Annotated[
        list[float] | None, typer.Option(min=0.1, help="Requests a second, Poisson; repeat it for phases in a row.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each phase.")] = 20.0,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds at the first rate that are not counted.")] = 5.0,
    users: Annotated[Path | None, typer.Option(help="Ids, one a line; none: those of the event log.")] = None,
    processes: Annotated[int, typer.Option(min=1, max=64, help="That share the sending.")] = 1,
    page_size: Annotated[int, typer.Option(min=1, max=200, help="Entries of a slate.")] = 10,
    surface: Annotated[str, typer.Option(help="Where slates are said to be shown.")] = "",
    timeout_ms: Annotated[int, typer.Option(min=1, help="Deadline of each request.")] = 1_000,
    click_share: Annotated[float, typer.Option(min=0, max=1, help="Share of slates whose first entry is clicked.")] = 0,
    seed: Annotated[int, typer.Option(help="Of arrivals, users and clicks.")] = 0,
    plots: Annotated[Path | None, typer.Option(help="A folder for pictures.")] = None,
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Send requests at given rates whether or not answers come (open loop), and say how long the answers took.

    A latency counts from the moment the request was due. Every slate is really served: it is in the log afterwards.
    """
    try:
        from services.command.bench.arrivals import Phase
        from services.command.bench.caller import Load
    except ImportError as error:
        raise fail(f"bench needs {error.name}: pip install 'winnow[bench]'") from error
    rates = rate or [50.0]
    counted = tuple(Phase(each, seconds) for each in rates)
    phases = ((Phase(rates[0], warm_up),) if warm_up else ()) + counted
    if (requests := sum(phase.rate * phase.seconds for phase in phases)) > MOST_REQUESTS:
        raise fail(f"--rate and --seconds make {requests:,.0f} requests; at most {MOST_REQUESTS:,} are counted", 2)
    with readable_errors(), Bars() as bars:
        chosen = _users(users, address)
        load = Load(
            address, chosen, phases, page_size, surface, timeout_ms, click_share, seed, processes
        )  # fmt: skip
        asyncio.run(_reached(load))
        answered = _sent(load, bars)
    answered.tallies[:] = answered.tallies[-len(counted) :]
    _show(load, answered, plots, json)


def _users(path: Path | None, address: str) -> tuple[str, ...]:
    from services.command.bench.users import users_in

    try:
        found = users_in(path) if path else asyncio.run(users_of_log(address))
    except (OSError, UnicodeDecodeError) as error:
        raise fail(f"--users {path}: {error}", 2) from error
    if not found:
        raise fail(f"{path or 'the event log'} names no user; give --users a file with an id a line", 2)
    return found


async def users_of_log(address: str) -> tuple[str, ...]:
    """Ids of users that the event log of a running product tells of."""
    from services.command.bench.users import users_of
    from services.command.log_access import open_log

    async with open_log(address) as access:
        return await users_of(access.feedback)


async def _reached(load: Load) -> None:
    """One slate, so that a wrong address is one clear error and not a table of them."""
    from winnow.v1.recommendation_service_pb2 import RecommendRequest

    from services.command.asking import ask

    try:
        await ask(load.address, RecommendRequest(user_id=load.users[0], page_size=load.page_size))
    except ServiceError as error:
        raise fail(f"{load.address} gives no slate: {error.message} ({error.reason.name})") from error


def _sent(load: Load, bars: Bars) -> Answered:
    from services.command.bench.crew import run

    return run(load, lambda share: bars("load", share, ""))


def _show(load: Load, answered: Answered, plots: Path | None, as_json: bool) -> None:
    from services.command.bench.plots import plot_load
    from services.command.bench.report import COLUMNS, loss_rows, record_of, rows, stage_rows

    phases = load.phases[-len(answered.tallies) :]
    records = [record_of(phase, tally) for phase, tally in zip(phases, answered.tallies, strict=True)]
    heads = [f"at {phase.rate:g}/s" for phase in phases]
    tables = [table("", COLUMNS, rows(records)), table("", ["stage, mean ms", *heads], stage_rows(records))]
    if losses := loss_rows(records):
        tables.append(table("", ["errors and losses", *heads], losses))
    data: dict[str, Any] = {"address": load.address, "users": len(load.users), "seed": load.seed, "phases": records}
    show(as_json, data, *tables)
    if not plots:
        return
    try:
        for path in plot_load(plots, load.phases, answered):
            console.print(f"[dim]{path}[/dim]", highlight=False) if not as_json else None
    except ImportError as error:
        raise fail("--plots needs matplotlib: pip install 'winnow[plots]'") from error
    except OSError as error:
        raise fail(f"--plots {plots}: {error}") from error
