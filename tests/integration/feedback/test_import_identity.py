"""Import, export, import: the same files, the same log, in one process and over gRPC."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.command.importing import IntakeSink
from services.trainer.datasets_opening import DataSource, open_dataset
from services.trainer.importing import ImportReport, import_dataset
from services.trainer.interchange_writing import write_folder
from services.trainer.log_reading import read_log
from shared.domain.events import Event
from shared.domain.intake import Intake
from shared.domain.services import Feedback
from shared.domain.watermark import Watermark
from shared.kernel.errors import ServiceError
from tests.contract.event_log_adapters import clock, records
from tests.integration.feedback.service import serving
from tests.integration.feedback.small_disk import SmallDatabase

ROWS = 2_500
KINDS = ("click", "impression", "rating", "hide", "dwell")
ITEMS = (
    '{"item_id": "i-0", "title": "Ünïcode, \\"quoted\\"", "categories": ["drama"], "attributes": {"year": 1999}}',
    '{"item_id": "on the shelf", "tags": ["unseen"]}',
)
USERS = ('{"user_id": "u-1", "interest_tags": ["jazz"]}',)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Interactions of every kind of row: values and none, ties in time, equal rows."""
    made = tmp_path / "files"
    made.mkdir()
    rows = [f"u-{row % 7},i-{row % 31},{KINDS[row % 5]},{value(row)},{row // 4 + 1}" for row in range(ROWS)]
    lines = ["user_id,item_id,event_type,value,timestamp", *rows, rows[-1]]
    (made / "interactions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (made / "items.jsonl").write_text("\n".join(ITEMS) + "\n", encoding="utf-8")
    (made / "users.jsonl").write_text("\n".join(USERS) + "\n", encoding="utf-8")
    return made


def value(row: int) -> str:
    """Ratings and times of dwell have one."""
    return f"{row % 11 / 2:g}" if KINDS[row % 5] in {"rating", "dwell"} else ""


async def imported(source: Path, intake: Intake) -> ImportReport:
    opened = open_dataset(DataSource(str(source), None, None, source))
    return await import_dataset(opened.dataset, IntakeSink(intake))


async def exported(feedback: Feedback, folder: Path) -> list[bytes]:
    read = await read_log(feedback.tail(Watermark(), follow=False), for_files=True)
    return [_content(path) for path in write_folder(read.dataset, folder, "text-gz")]


@asynccontextmanager
async def ports(data_dir: Path, kind: str) -> AsyncIterator[tuple[Intake, Feedback]]:
    async with serving(data_dir) as service:
        yield (service.client, service.client) if kind == "over gRPC" else (service.app.intake, service.app.feedback)


@pytest.mark.parametrize("kind", ["in process", "over gRPC"])
async def test_what_was_imported_is_exported_and_importing_that_gives_it_again(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    async with ports(tmp_path / "first", kind) as (intake, feedback):
        report = await imported(folder, intake)
        first = await exported(feedback, tmp_path / "a")
    async with ports(tmp_path / "second", kind) as (intake, feedback):
        await imported(tmp_path / "a", intake)
        second = await exported(feedback, tmp_path / "b")

    assert report.refused == 0
    assert first == second
    assert first[0].count(b"\n") == ROWS + 2
    assert sorted(first[0].splitlines()) == sorted(_content(folder / "interactions.csv").splitlines())


@pytest.mark.parametrize("kind", ["in process", "over gRPC"])
async def test_rows_without_a_time_come_back_without_one_and_are_known_again(tmp_path: Path, kind: str) -> None:
    rows = ["u-1,i-1,click,,0", "u-1,i-1,click,,0", "u-2,i-1,rating,3,0", "u-1,i-2,click,,0.0001", "u-1,i-1,click,,9"]
    (tmp_path / "files").mkdir()
    lines = ["user_id,item_id,event_type,value,timestamp", *rows]
    (tmp_path / "files" / "interactions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "files" / "items.jsonl").write_text('{"item_id": "i-1"}\n', encoding="utf-8")
    async with ports(tmp_path / "data", kind) as (intake, feedback):
        await imported(tmp_path / "files", intake)
        first = await exported(feedback, tmp_path / "a")
        await imported(tmp_path / "a", intake)
        again = await exported(feedback, tmp_path / "b")
        events = [each.fact async for batch in feedback.tail(Watermark(), follow=False) for each in batch.records]

    assert first == again
    assert [line.rpartition(b",")[2] for line in first[0].splitlines()[1:]] == [b"0", b"0", b"0", b"0", b"9"]
    times = [each.event_time_ms for each in events if isinstance(each, Event)]
    assert sorted(times) == [9_000, *[clock()] * 4]


async def test_importing_again_adds_no_event(folder: Path, tmp_path: Path) -> None:
    async with serving(tmp_path / "data") as service:
        await imported(folder, service.app.intake)
        before = await exported(service.app.feedback, tmp_path / "a")
        count = len(await records(service.app.log))

        await imported(folder, service.client)

        assert await exported(service.app.feedback, tmp_path / "b") == before
        assert len(await records(service.app.log)) - count < 100  # items and profiles, which are replaced


@pytest.mark.parametrize("kind", ["in process", "over gRPC"])
async def test_an_import_onto_a_full_disk_says_so_and_goes_on_later(folder: Path, tmp_path: Path, kind: str) -> None:
    async with serving(tmp_path / "data") as service:
        intake = service.client if kind == "over gRPC" else service.app.intake
        disk = SmallDatabase(tmp_path / "data")
        disk.fill(service.app.log)
        with pytest.raises(ServiceError) as told:
            await imported(folder, intake)
        disk.free(service.app.log)

        report = await imported(folder, intake)

        assert told.value.reason.name == "STORAGE_FULL"
        assert report.refused == 0
        assert (await exported(service.app.feedback, tmp_path / "a"))[0].count(b"\n") == ROWS + 2


def _content(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
