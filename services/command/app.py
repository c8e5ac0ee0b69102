"""Assembles the `winnow` command. Each command imports what it needs when it runs, so that `--help` is quick."""

from __future__ import annotations

import sys

import typer

from services.command import asking, demo, importing, load, models, operating, serving, training
from services.command.output import FAILED, errors

app = typer.Typer(
    name="winnow",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Real-time, explainable recommendations over gRPC.\n\n"
    "From nothing to a slate: `winnow import ml-100k`, `winnow train`, `winnow serve`, "
    "`winnow recommend --user 42 --explain`. `winnow demo` does all of it.\n\n"
    "Settings are environment variables WINNOW_… (see .env.example); data lives in WINNOW_DATA_DIR (.winnow).",
)
app.command("import")(importing.import_data)
app.command("export")(importing.export_data)
app.command("train")(training.train)
app.command("evaluate")(training.evaluate)
app.command("serve")(serving.serve)
app.command("recommend")(asking.recommend)
app.command("record")(asking.record)
app.command("status")(operating.status)
app.command("bench")(load.bench)
app.command("erase")(operating.erase)
app.command("demo")(demo.demo)
app.add_typer(models.app, name="models")


def main() -> None:
    """Run the command line; what a full disk or a folder of somebody else's stops, it tells in one line."""
    try:
        app()
    except OSError as error:
        errors.print(f"[red]winnow:[/red] {error}", highlight=False, soft_wrap=True)
        sys.exit(FAILED)
