"""`Recommend` under open load: all services and Ray on this machine, the generator too.

usage: python -m tests.benchmarks.path_bench [--rate 50 --rate 200 --rate 600 --rate 50] [--seconds 20] [--plots FOLDER]
       [--flames FOLDER]

Serves the data folder's bundle and sends each rate in turn with `winnow bench`. Beside its tables: the processor time
that an answered request costs in each process, which is what to work on. `--flames` sends the first rate once more and
draws what the front's process and the ranker's replica spend it on (py-spy, which comes with Ray; only threads that
hold Python's lock count), apart from the figures, because the drawing itself takes a share of a core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from services.command.bench.report import COLUMNS, loss_rows, rows, stage_rows
from services.command.load import users_of_log
from services.command.output import table
from services.command.places import data_dir
from tests.benchmarks.smoke import FRONT, REPLICA, processor_ms, role_of
from tests.e2e.product import Product, Running, processes_of

RATES = (50.0, 200.0, 600.0, 50.0)
WARM_UP_SECONDS = 5
DRAWN = (FRONT, REPLICA)


def main() -> None:
    """Serve, send, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, action="append")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--click-share", type=float, default=0.1)
    parser.add_argument("--plots", type=Path)
    parser.add_argument("--flames", type=Path)
    arguments = parser.parse_args()
    records, costs = [], []
    with Product(data_dir().absolute()).serving() as running, tempfile.NamedTemporaryFile("w") as users:
        # Read once: what the product spends on telling its log is no request's.
        users.write("\n".join(asyncio.run(users_of_log(running.product.address))))
        users.flush()
        arguments.users = users.name
        for number, rate in enumerate(arguments.rate or RATES):
            before = processor_ms(running.product.data_dir)
            record = send(running, rate, arguments, warm_up=0 if number else WARM_UP_SECONDS)
            after = processor_ms(running.product.data_dir)
            records.append(record)
            costs.append({name: after[name] - before.get(name, 0) for name in after})
        if arguments.flames:
            with flames_of(running, arguments.flames, arguments.seconds):
                send(running, (arguments.rate or RATES)[0], arguments, warm_up=0)
    report(records, costs)


@contextmanager
def flames_of(running: Running, folder: Path, seconds: float) -> Iterator[None]:
    """Draw what the processes that answer do meanwhile, as `<process>.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    commands = processes_of(running.product.data_dir)
    drawn = {role_of(command): pid for pid, command in commands.items() if role_of(command) in DRAWN}
    pictures = {role: folder / f"{role.replace(' ', '-')}.svg" for role in drawn}
    recorders = [_recorder(pid, pictures[role], seconds) for role, pid in drawn.items()]
    yield
    for recorder in recorders:
        recorder.wait()
    for role, picture in pictures.items():  # the title would be the command, with the machine's folders
        picture.write_text(re.sub(r'(id="title"[^>]*>)[^<]*', rf"\1{role}", picture.read_text(), count=1))


def _recorder(pid: int, picture: Path, seconds: float) -> subprocess.Popen[bytes]:
    command = [Path(sys.executable).parent / "py-spy", "record", "--gil", "--threads", "--rate", "200"]
    what = ["--duration", str(round(seconds)), "--output", picture, "--pid", str(pid)]
    return subprocess.Popen([*command, *what], stdout=subprocess.DEVNULL)


def send(running: Running, rate: float, arguments: argparse.Namespace, warm_up: float) -> dict[str, Any]:
    """One phase, by the command that users have."""
    command = [
        sys.executable, "-m", "services", "bench", "--address", running.product.address, "--rate", str(rate),
        "--seconds", str(arguments.seconds), "--warm-up", str(warm_up), "--click-share", str(arguments.click_share),
        "--users", arguments.users, "--json",
    ]  # fmt: skip
    if arguments.plots:
        command += ["--plots", str(arguments.plots / f"{rate:g}-per-second")]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)["phases"][0]
    return found


def report(records: list[dict[str, Any]], costs: list[dict[str, float]]) -> None:
    """Print the tables."""
    console = Console(width=200)
    heads = [f"at {record['rate']:g}/s" for record in records]
    console.print(table("", COLUMNS, rows(records)))
    console.print(table("", ["stage, mean ms", *heads], stage_rows(records)))
    console.print(table("", ["errors and losses", *heads], loss_rows(records)))
    spent = Table("core ms a request", *heads, box=None)
    for name in dict.fromkeys(name for cost in costs for name in cost):
        shares = (cost.get(name, 0) / max(1, record["sent"]) for cost, record in zip(costs, records, strict=True))
        spent.add_row(name, *(f"{share:.2f}" for share in shares))
    console.print(spent)


if __name__ == "__main__":
    main()
