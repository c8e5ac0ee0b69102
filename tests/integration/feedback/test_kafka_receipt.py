"""The receipt of an erasure in Kafka that a restart came into, as `test_erasure` has it of the embedded log."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from services.feedback.kafka_log import KafkaEventLog
from shared.domain.event_log import EventLog, LogRecord
from shared.domain.watermark import Watermark
from tests.contract.event_log_adapters import event, open_kafka, records
from tests.integration.feedback.test_erasure import USER, holding, write_about

Found = tuple[Sequence[LogRecord], Watermark, Watermark]


async def stop_in_the_search(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that erases the user and stops before it has counted what that removed."""

    async def never(self: KafkaEventLog, subject: str, through: Watermark) -> AsyncIterator[Found]:
        raise asyncio.CancelledError
        yield

    with monkeypatch.context() as patched:
        patched.setattr(KafkaEventLog, "_of_subject", never)
        async with open_kafka(folder) as log:
            with pytest.raises(asyncio.CancelledError):
                await log.erase(USER)


async def first_of(log: EventLog, subject: str) -> Watermark:
    """The position behind the first record of a pseudonym."""
    return next(record.watermark for record in await records(log) if record.subject == subject)


async def test_the_receipt_of_a_service_that_stopped_during_the_search_is_given_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_kafka(tmp_path) as log:
        await write_about(log, USER)
        subject = (await records(log))[0].subject
        await log.append([event(900)])
    await stop_in_the_search(tmp_path, monkeypatch)

    async with open_kafka(tmp_path) as log:
        receipt = await log.erase(USER)
        again = await log.erase(USER)

        assert receipt is not None
        assert (receipt.records, receipt.watermark) == (52, await log.head())
        assert receipt.first == await first_of(log, subject)
        assert again is None
    async with open_kafka(tmp_path) as log:
        assert await log.erase(USER) is None


async def test_who_came_back_after_a_search_that_a_restart_ended_has_both_lives_in_the_receipt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_kafka(tmp_path) as log:
        await write_about(log, USER)
        subject = (await records(log))[0].subject
    await stop_in_the_search(tmp_path, monkeypatch)

    async with open_kafka(tmp_path) as log:
        await log.append([event(950, user_id=USER)])
        receipt = await log.erase(USER)

        assert receipt is not None
        assert (receipt.records, receipt.watermark) == (53, await log.head())
        assert receipt.first == await first_of(log, subject)


async def test_no_hash_of_the_user_stays_once_the_receipt_is_made(tmp_path: Path) -> None:
    async with open_kafka(tmp_path) as log:
        await write_about(log, USER)
        user_hash: bytes = log._files.hashes.user(USER)  # type: ignore[attr-defined]
        await log.erase(USER)

    with sqlite3.connect(tmp_path / "feedback" / "kafka.db") as database:
        assert database.execute("SELECT count(*) FROM untold_erasures").fetchone() == (0,)
    assert holding(tmp_path, user_hash) == []
