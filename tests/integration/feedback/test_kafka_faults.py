"""A cluster that fails: short faults pass unnoticed, long ones are told honestly, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from winnow.v1 import event_pb2
from winnow.v1 import feedback_service_pb2 as pb
from winnow.v1.feedback_service_pb2_grpc import FeedbackServiceStub

from services.feedback.kafka_client import KafkaOptions
from services.feedback.kafka_log import KafkaEventLog, open_kafka_log
from shared.domain.event_log import Erasure, EventLog
from shared.domain.watermark import Watermark
from shared.kernel.errors import STATUS_DETAILS_KEY, ErrorReason, ServiceError
from tests.contract.event_log_adapters import clock, event, events_of, records
from tests.integration.feedback.service import serving
from tests.kafka_mock_cluster import END_TXN, PRODUCE, MockCluster, mock_cluster

TOPIC, PARTITIONS = "events", 3
TIMEOUT_MS = 1_000
PATIENCE_S = 30.0
NOT_LEADER, TIMED_OUT, TOO_LARGE, COORDINATOR_LOADING, COORDINATOR_MOVED, OLD_EPOCH, DISK, QUOTA = (
    6, 7, 10, 14, 16, 47, 56, 89,
)  # fmt: skip
NO_CHECKSUMS = {"check.crcs": "false"}
"""The mock cluster moves records without making their checksum anew."""

Answer = TypeVar("Answer")


@pytest.fixture
def cluster() -> Iterator[MockCluster]:
    with mock_cluster() as brokers:
        brokers.topic(TOPIC, PARTITIONS)
        yield brokers


@pytest.fixture
async def log(cluster: MockCluster, tmp_path: Path) -> AsyncIterator[KafkaEventLog]:
    options = KafkaOptions(cluster.bootstrap, TOPIC, timeout_ms=TIMEOUT_MS, properties=NO_CHECKSUMS)
    async with open_kafka_log(tmp_path / "feedback", clock, options) as opened:
        yield opened


async def refused(work: Awaitable[object]) -> ErrorReason | object:
    """Why it was refused."""
    with pytest.raises(ServiceError) as told:
        await work
    assert told.value.retry_after_ms
    return told.value.reason


async def when_it_works(log: EventLog, numbers: Sequence[int]) -> None:
    """Append events as a client does: again and again with the same ids."""
    begun = time.monotonic()
    while True:
        try:
            await log.append([event(number) for number in numbers])
        except ServiceError as error:
            if error.reason is not ErrorReason.STORAGE_UNAVAILABLE or time.monotonic() - begun > PATIENCE_S:
                raise
            await asyncio.sleep(0.1)
        else:
            return


@pytest.mark.parametrize(
    ("request_kind", "errors"),
    [
        (PRODUCE, [NOT_LEADER, TIMED_OUT, NOT_LEADER]),
        (END_TXN, [COORDINATOR_LOADING, COORDINATOR_MOVED]),
    ],
)
async def test_an_error_that_passes_is_not_noticed(
    log: KafkaEventLog, cluster: MockCluster, request_kind: int, errors: list[int]
) -> None:
    cluster.fail(request_kind, errors)

    await log.append([event(1), event(2)])

    assert await events_of(log, "ada") == [event(1), event(2)]


async def test_another_leader_takes_over_without_a_loss(log: KafkaEventLog, cluster: MockCluster) -> None:
    written = []
    for number in range(12):
        for partition in range(PARTITIONS):
            cluster.lead(TOPIC, partition, 1 + (number + partition) % 3)
        await log.append([event(number)])
        written.append(event(number))

    assert await events_of(log, "ada") == written


async def test_a_write_whose_outcome_nobody_heard_is_there_once(log: KafkaEventLog, cluster: MockCluster) -> None:
    cluster.fail(END_TXN, [TIMED_OUT] * 200)
    reason = await refused(log.append([event(1), event(2)]))
    cluster.heal(END_TXN)

    await when_it_works(log, [1, 2, 3])

    assert reason is ErrorReason.STORAGE_UNAVAILABLE
    assert await events_of(log, "ada") == [event(1), event(2), event(3)]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TOO_LARGE, ErrorReason.MESSAGE_TOO_LARGE),
        (QUOTA, ErrorReason.OVERLOADED),
        (OLD_EPOCH, ErrorReason.STORAGE_UNAVAILABLE),
    ],
)
async def test_what_the_cluster_refuses_is_named_and_the_next_write_goes_in(
    log: KafkaEventLog, cluster: MockCluster, error: int, reason: object
) -> None:
    cluster.fail(PRODUCE, [error])

    assert await refused(log.append([event(1)])) is reason

    await log.append([event(2)])
    assert [each for each in await events_of(log, "ada") if each != event(1)] == [event(2)]


async def test_while_the_cluster_is_down_callers_are_told_and_afterwards_all_goes_on(
    log: KafkaEventLog, cluster: MockCluster
) -> None:
    await log.append([event(0)])
    cluster.down()
    reasons = [await refused(log.append([event(number)])) for number in (1, 2, 3)]
    reading = await refused(anext(log.tail(Watermark(), follow=False)))
    cluster.up()

    await when_it_works(log, [1, 2, 3])

    assert {*reasons, reading} == {ErrorReason.STORAGE_UNAVAILABLE}
    assert await events_of(log, "ada") == [event(number) for number in range(4)]


async def test_a_follower_that_has_caught_up_outlives_an_outage(log: KafkaEventLog, cluster: MockCluster) -> None:
    await log.append([event(0)])
    seen: list[object] = []

    async def follow() -> None:
        async for batch in log.tail(Watermark(), follow=True):
            seen.extend(record.fact for record in batch.records)
            if len(seen) == 2:
                return

    following = asyncio.create_task(follow())
    while not seen:
        await asyncio.sleep(0.01)
    cluster.down()
    await refused(log.append([event(1)]))
    cluster.up()
    await when_it_works(log, [1])

    await asyncio.wait_for(following, PATIENCE_S)
    assert seen == [event(0), event(1)]


async def test_a_disk_that_fails_under_a_broker_is_told_and_writing_goes_on_later(
    log: KafkaEventLog, cluster: MockCluster
) -> None:
    cluster.fail(PRODUCE, [DISK] * 500)
    reason = await refused(log.append([event(1)]))
    cluster.heal(PRODUCE)

    await when_it_works(log, [1])

    assert reason is ErrorReason.STORAGE_UNAVAILABLE
    assert await events_of(log, "ada") == [event(1)]


async def test_an_erasure_during_an_outage_takes_the_key_at_once_and_is_finished_by_calling_again(
    log: KafkaEventLog, cluster: MockCluster
) -> None:
    await log.append([event(1), event(2)])
    cluster.down()
    reason = await refused(log.erase("ada"))
    cluster.up()
    await when_it_works(log, [])

    receipt = await log.erase("ada")
    while receipt is None and not any(isinstance(record.fact, Erasure) for record in await records(log)):
        receipt = await log.erase("ada")  # pragma: no cover  # the tombstone was written in between

    facts = [record.fact for record in await records(log)]
    assert reason is ErrorReason.STORAGE_UNAVAILABLE
    assert receipt is not None
    assert receipt.records == 2
    assert [type(fact) for fact in facts if fact is not None] == [Erasure]
    assert await log.erase("ada") is None


async def test_a_tombstone_that_is_owed_goes_in_with_the_next_write(log: KafkaEventLog, cluster: MockCluster) -> None:
    await log.append([event(1)])
    cluster.down()
    await refused(log.erase("ada"))
    cluster.up()

    await when_it_works(log, [2])

    facts = [record.fact for record in await records(log)]
    assert facts.count(None) == 1
    assert sum(isinstance(fact, Erasure) for fact in facts) == 1
    assert await log.erase("ada") is not None  # the new identity of event 2


async def test_a_client_hears_of_an_outage_with_a_time_to_come_again(cluster: MockCluster, tmp_path: Path) -> None:
    properties = tmp_path / "kafka.properties"
    properties.write_text("# of the mock cluster\n\ncheck.crcs = false\n", encoding="utf-8")
    settings = {
        "log": "kafka", "kafka_bootstrap_servers": cluster.bootstrap, "kafka_topic": TOPIC,
        "kafka_timeout_ms": TIMEOUT_MS, "kafka_properties_path": properties,
    }  # fmt: skip
    event_sent = event_pb2.Event(event_id="e", user_id="ada", item_id="x", event_type=event_pb2.EVENT_TYPE_CLICK)
    async with serving(tmp_path / "data", **settings) as service:
        stub = FeedbackServiceStub(service.channel)
        cluster.down()
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await stub.RecordEvents(pb.RecordEventsRequest(events=[event_sent]))
        cluster.up()
        await when_it_works(service.app.log, [1])
        answer = await stub.RecordEvents(pb.RecordEventsRequest(events=[event_sent]))

    retry = error_details_pb2.RetryInfo()
    (packed,) = [value for key, value in told.value.trailing_metadata() or () if key == STATUS_DETAILS_KEY]
    assert isinstance(packed, bytes)
    assert told.value.code() is grpc.StatusCode.UNAVAILABLE
    assert any(detail.Unpack(retry) for detail in status_pb2.Status.FromString(packed).details)
    assert retry.retry_delay.ToMilliseconds() > 0
    assert answer.watermark
