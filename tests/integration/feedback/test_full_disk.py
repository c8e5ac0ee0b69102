"""A full disk: an honest error, nothing half-kept, reads go on, and writing goes on when there is room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from winnow.v1 import event_pb2
from winnow.v1 import feedback_service_pb2 as pb
from winnow.v1.feedback_service_pb2_grpc import FeedbackServiceStub

from services.feedback.sqlite_folder import LOCK, locked_folder
from shared.domain.event_log import EventLog
from shared.domain.events import Event
from shared.kernel.config import ConfigError
from shared.kernel.errors import STATUS_DETAILS_KEY, ErrorReason, ServiceError
from tests.contract.event_log_adapters import event, open_sqlite, records, until_error
from tests.integration.feedback.service import serving
from tests.integration.feedback.small_disk import SmallDatabase, SmallDisk, SmallTmpfs, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk") as mounted:
        yield mounted


@pytest.fixture
def small_database(tmp_path: Path) -> SmallDisk:
    """SQLite's own limit, on every machine."""
    folder = tmp_path / "database"
    folder.mkdir()
    return SmallDatabase(folder)


async def write_until_full(log: EventLog, start: int = 0) -> list[Event]:
    """Append batches of ten until one is refused; the events of those that were not."""
    kept: list[Event] = []
    for first in range(start, start + 1_000_000, 10):
        batch = [event(number, surface="s" * 60) for number in range(first, first + 10)]
        if await refused_as_full(log.append(batch)):
            return kept
        kept += batch
    raise AssertionError("the disk never filled up")


async def refused_as_full(write: Awaitable[object]) -> bool:
    """Whether a write was refused because the disk is full; any other failure is one."""
    try:
        await write
    except ServiceError as error:
        if error.reason is not ErrorReason.STORAGE_FULL:
            raise
        return True
    return False


def test_a_log_does_not_begin_on_a_disk_that_takes_names_but_no_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "feedback"
    folder.mkdir(parents=True)
    (folder / LOCK).symlink_to("/dev/full")

    with pytest.raises(ConfigError, match=r"data/feedback cannot be written.*make room there"), locked_folder(folder):
        pass


@pytest.mark.parametrize("kind", ["disk", "small_database"])
async def test_of_a_batch_that_does_not_fit_nothing_is_kept_and_everything_before_it_is(
    request: pytest.FixtureRequest, kind: str
) -> None:
    full: SmallDisk = request.getfixturevalue(kind)
    async with open_sqlite(full.folder) as log:
        await log.append([event(number) for number in range(10_000, 10_010)])
        full.fill(log)
        kept = await write_until_full(log)

        found = [record.fact for record in await records(log)]

        assert found[10:] == kept
        assert (await log.head()).offset() == len(found)


@pytest.mark.parametrize("kind", ["disk", "small_database"])
async def test_writing_goes_on_when_there_is_room(request: pytest.FixtureRequest, kind: str) -> None:
    full: SmallDisk = request.getfixturevalue(kind)
    refused = [event(number, user_id="eve") for number in range(50_000, 50_300)]
    async with open_sqlite(full.folder) as log:
        await log.append([event(100_000)])
        full.fill(log)
        kept = await write_until_full(log)
        with pytest.raises(ServiceError):
            await log.append(refused)
        full.free(log)

        await log.append(refused)

        assert [record.fact for record in await records(log)][1:] == kept + refused

    async with open_sqlite(full.folder) as log:
        assert [record.fact for record in await records(log)][1:] == kept + refused


async def test_every_waiting_batch_is_refused_and_none_is_lost_silently(disk: SmallDisk) -> None:
    async with open_sqlite(disk.folder) as log:
        disk.fill(log)
        batches = [[event(100 * row + each, f"user-{row}") for each in range(100)] for row in range(200)]

        outcomes = await asyncio.gather(*(log.append(batch) for batch in batches), return_exceptions=True)

        kept = {fact.event_id for record in await records(log) if isinstance(fact := record.fact, Event)}
        for batch, outcome in zip(batches, outcomes, strict=True):
            there = [each.event_id in kept for each in batch]
            if isinstance(outcome, ServiceError):
                assert outcome.reason is ErrorReason.STORAGE_FULL
                assert not any(there)
            else:
                assert all(there)
        assert any(isinstance(outcome, ServiceError) for outcome in outcomes)


async def test_an_erasure_on_a_full_disk_is_done_or_refused_and_can_be_repeated(small_database: SmallDisk) -> None:
    async with open_sqlite(small_database.folder) as log:
        await log.append([event(1)])
        small_database.fill(log)
        await write_until_full(log, start=100)
        refused = await refused_as_full(log.erase("ada"))
        small_database.free(log)

        assert (await log.erase("ada") is not None) == refused
        assert await log.erase("ada") is None


async def test_a_client_is_told_what_to_do_and_when_to_try_again(disk: SmallDisk) -> None:
    async with serving(disk.folder / "data") as service:
        stub = FeedbackServiceStub(service.channel)
        request = pb.RecordEventsRequest(
            events=[
                event_pb2.Event(
                    event_id=f"e-{row}",
                    user_id=f"user-{row}",
                    item_id="x",
                    event_type=event_pb2.EVENT_TYPE_CLICK,
                    surface="s" * 60,
                )
                for row in range(1_000)
            ]
        )
        disk.fill(service.app.log)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.RecordEvents(request)
        tail = [each async for each in stub.TailEvents(pb.TailEventsRequest())]
        disk.free(service.app.log)

        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        for detail in _status(refused.value).details:
            detail.Unpack(info)
            detail.Unpack(retry)
        assert info.reason == "STORAGE_FULL"
        assert info.metadata["path"] == str(disk.folder / "data" / "feedback")
        assert int(info.metadata["freeBytes"]) < 1 << 20
        assert retry.retry_delay.seconds > 0
        assert tail == []
        assert (await stub.RecordEvents(request)).watermark == "w1-0.1000"


async def test_a_stream_on_a_full_disk_ends_and_its_client_can_go_on_behind_the_acknowledgements(
    disk: SmallDisk,
) -> None:
    written = [[event(100 * row + each, f"user-{row}", surface="s" * 60) for each in range(100)] for row in range(80)]
    async with serving(disk.folder / "data") as service:

        async def batches() -> AsyncIterator[list[Event]]:
            for row, batch in enumerate(written):
                if row == 3:
                    disk.fill(service.app.log)
                yield batch

        acknowledged, ended = await until_error(service.client.stream_events(batches()), ServiceError)
        rest = [each for batch in written[len(acknowledged) :] for each in batch]
        with pytest.raises(ServiceError) as told:
            await service.client.record_events(rest)
        disk.free(service.app.log)
        await service.client.record_events(rest)

        assert ended.reason.name in {"STORAGE_FULL", "DEPENDENCY_UNAVAILABLE"}  # grpc.aio may lose the status
        assert told.value.reason.name == "STORAGE_FULL"
        found = [record.fact for record in await records(service.app.log)]
        assert found == [each for batch in written for each in batch]


def test_the_disk_of_these_tests_is_a_real_one_where_tests_may_mount(disk: SmallDisk) -> None:
    assert disk.folder.is_mount() == isinstance(disk, SmallTmpfs)


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    (packed,) = [value for key, value in error.trailing_metadata() or () if key == STATUS_DETAILS_KEY]
    assert isinstance(packed, bytes)
    return status_pb2.Status.FromString(packed)
