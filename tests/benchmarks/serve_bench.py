"""Winnow's Serve path against Ray Serve's default proxy and plain grpc.aio, side by side.

usage: python -m tests.benchmarks.serve_bench [--registry DIR] [--repeats 5] [--seconds 2]

The method that does nothing is `grpc.health.v1.Health/Check`, on Winnow's side through the ingress that every method of
the ranker passes. The ranker scores 300 candidates for histories of 100 events with the same weights, one thread, and
no cache on both sides. All servers run all the time, the client on the same processors; they are asked in turn, in the
opposite order each other time, and the medians are printed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import grpc
import uvloop
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from rich import box
from rich.console import Console
from rich.table import Table
from winnow.v1.ranking_service_pb2 import RankRequest
from winnow.v1.ranking_service_pb2_grpc import RankingServiceStub

from services.command.places import data_dir
from tests.benchmarks.closed_loop import Call, Speed, middle_of, speed_of
from tests.benchmarks.ranking_requests import current_bundle, made_up_requests, messages_of
from tests.benchmarks.servers import Server, default_serve, plain_grpc, winnow

REQUESTS = 256
NO_OP, RANKER = "no-op", "ranker"
WINNOW, DEFAULT, PLAIN = "Winnow", "default proxy", "plain grpc.aio"
WORK = ((NO_OP, 1), (NO_OP, 32), (RANKER, 1), (RANKER, 16))
GOALS = {
    (NO_OP, 1, DEFAULT): 4.0,
    (NO_OP, 32, DEFAULT): 4.0,
    (NO_OP, 1, PLAIN): 0.45,
    (NO_OP, 32, PLAIN): 0.45,
    (RANKER, 1, DEFAULT): 2.0,
    (RANKER, 16, DEFAULT): 1.5,
}
"""What Winnow's rate is to be as a multiple of another's."""

Runs = Mapping[tuple[str, int, str], list[Speed]]
"""Of each method, concurrency and server: one a repeat."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", default=str(data_dir().absolute() / "registry"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        bundle = current_bundle(arguments.registry, folder / "bundle")
        servers = {
            WINNOW: stack.enter_context(winnow(arguments.registry, folder / "winnow")),
            DEFAULT: stack.enter_context(default_serve(bundle)),
            PLAIN: stack.enter_context(plain_grpc()),
        }
        messages = messages_of(made_up_requests(bundle, REQUESTS))
        runs = uvloop.run(_runs(servers, messages, arguments.repeats, arguments.seconds))
    _print(runs)


async def _runs(servers: Mapping[str, Server], messages: list[RankRequest], repeats: int, seconds: float) -> Runs:
    runs = defaultdict(list)
    for repeat in range(repeats):
        for method, concurrency in WORK:
            names = [name for name in servers if method == NO_OP or name != PLAIN]
            for name in names if repeat % 2 == 0 else reversed(names):
                async with grpc.aio.insecure_channel(servers[name].grpc_address) as channel:
                    call = _call(method, channel, servers[name], messages)
                    runs[method, concurrency, name].append(await speed_of(call, concurrency, seconds))
    return runs


def _call(method: str, channel: grpc.aio.Channel, server: Server, messages: list[RankRequest]) -> Call:
    if method == NO_OP:
        check, nothing = HealthStub(channel).Check, HealthCheckRequest()
        return lambda _: check(nothing, metadata=server.metadata)
    rank = RankingServiceStub(channel).Rank
    return lambda number: rank(messages[number % len(messages)], metadata=server.metadata)


def _print(runs: Runs) -> None:
    title = f"medians of {len(next(iter(runs.values())))} repeats, load {os.getloadavg()[0]:.1f}"
    columns = ("method", "concurrency", "server", "requests/s", "p50 ms", "p99 ms", "Winnow is", "goal")
    table = Table(*columns, title=title, box=box.MARKDOWN)
    for (method, concurrency, name), speeds in runs.items():
        middle, own = middle_of(speeds), middle_of(runs[method, concurrency, WINNOW])
        goal = GOALS.get((method, concurrency, name))
        times = "" if goal is None else f"{own.rate / middle.rate:.2f} times"
        table.add_row(
            method, str(concurrency), name, f"{middle.rate:,.0f}", f"{middle.p50_ms:.1f}", f"{middle.p99_ms:.1f}",
            times, "" if goal is None else f"{goal}",
        )  # fmt: skip
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
