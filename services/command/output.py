"""How the command speaks: tables for people, JSON for scripts, one clear line for an error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from shared.kernel.config import ConfigError
from shared.kernel.errors import ErrorReason, ServiceError

FAILED, USAGE, NOT_PUBLISHED = 1, 2, 3
"""Exit codes: the work could not be done; the command, the settings or the data are wrong; a bundle failed a gate."""

console = Console()
errors = Console(stderr=True)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    """A plain table; numbers stand right."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        number = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        made.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def show(as_json: bool, data: object, *tables: Table) -> None:
    """Print the data as JSON, or the tables."""
    if as_json:
        sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")
        return
    for each in tables:
        console.print(each)


def fail(message: str, code: int = FAILED) -> typer.Exit:
    """Print what went wrong; raise what this returns."""
    errors.print(f"[red]winnow:[/red] {message}", highlight=False, soft_wrap=True)
    return typer.Exit(code)


@contextmanager
def readable_errors() -> Iterator[None]:
    """Errors that were foreseen become one line and an honest exit code."""
    try:
        yield
    except ConfigError as error:
        raise fail("\n        ".join(error.problems), USAGE) from error
    except ServiceError as error:
        raise fail(f"{error.message}{_remedy(error)} ({error.reason.name})") from error


def _remedy(error: ServiceError) -> str:
    """What to do where nobody answered, so that nobody could say."""
    nobody = error.reason == ErrorReason.DEPENDENCY_UNAVAILABLE and not error.metadata
    return "; start `winnow serve`, or name the address of one that runs with --address" if nobody else ""


class Bars:
    """Progress bars, one a stage; implements the trainer's `Progress`. Where no terminal is, a line a tenth."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<22}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(), TextColumn("{task.fields[message]}"), console=errors,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}
        self._tenths: dict[str, int] = {}

    def __enter__(self) -> Bars:
        if errors.is_terminal:
            self._progress.__enter__()
        return self

    def __exit__(self, *caught: Any) -> None:
        if errors.is_terminal:
            self._progress.__exit__(*caught)

    def __call__(self, stage: str, share: float, message: str) -> None:
        """A stage is so far."""
        if not errors.is_terminal:
            self._line(stage, share, message)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=1.0, message="")
        self._progress.update(self._tasks[stage], completed=share, message=message)

    def _line(self, stage: str, share: float, message: str) -> None:
        tenth = int(share * 10)
        if self._tenths.get(stage) != tenth:
            self._tenths[stage] = tenth
            errors.print(f"{stage}: {share:.0%} {message}", highlight=False, soft_wrap=True)


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
