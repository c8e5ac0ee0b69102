"""The log in Kafka: what it refuses to open, what stands in the topic, and what is left after an erasure."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from services.feedback import kafka_writer
from services.feedback.kafka_client import KafkaOptions
from services.feedback.kafka_companion import FORM, Companion
from services.feedback.kafka_log import open_kafka_log
from services.feedback.log_opening import open_log
from services.feedback.settings import FeedbackSettings
from services.feedback.sqlite_database import open_database
from shared.domain.event_log import Erasure, EventLog, Fact
from shared.domain.items import Item, User
from shared.kernel.config import ConfigError, load
from shared.kernel.errors import ErrorReason, ServiceError
from tests.contract.event_log_adapters import (
    clock,
    event,
    events_of,
    kafka_settings,
    open_kafka,
    records,
    slate,
    topic_of,
)
from tests.integration.feedback.test_erasure import contents, holding, other_reader
from tests.kafka_broker import Broker, shared_broker

USER = "user-zzyzx-4711"
SECRETS = ("item-only-zzyzx-saw", "session-zzyzx", "interest-zzyzx", "r-zzyzx", "event-zzyzx")


def topic_bytes(folder: Path) -> bytes:
    """Every key and value of the topic, as anybody who reads it sees them."""
    consumer = Consumer({"bootstrap.servers": shared_broker().bootstrap, "group.id": "x", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic_of(folder), partition, 0) for partition in range(3)])
    found, ended = b"", set[int]()
    while len(ended) < 3:
        message = consumer.poll(20)
        assert message is not None
        if message.error():
            ended.add(message.partition())
        else:
            found += (message.key() or b"") + b"\n" + (message.value() or b"") + b"\n"
    consumer.close()
    return found


def keys_in(folder: Path) -> list[bytes]:
    """The keys of the companion file."""
    with sqlite3.connect(folder / "feedback" / "kafka.db") as database:
        return [row[0] for row in database.execute("SELECT key FROM keys ORDER BY key_row")]


async def write_about(log: EventLog, user_id: str, start: int = 0) -> None:
    fields = {"item_id": SECRETS[0], "session_id": SECRETS[1]}
    facts: list[Fact] = [event(start + number, user_id=user_id, **fields) for number in range(50)]
    await log.append([*facts, User(user_id, (SECRETS[2],)), slate(f"{SECRETS[3]}{start}", user_id=user_id)])


async def test_neither_topic_nor_files_tell_who_did_what_and_the_catalogue_is_in_the_clear(tmp_path: Path) -> None:
    async with open_kafka(tmp_path) as log:
        await write_about(log, USER)
        await log.append([Item("item-1", title="A title that anybody may read")])

        topic = topic_bytes(tmp_path)
        assert b"A title that anybody may read" in topic
        for text in (USER, *SECRETS):
            assert text.encode() not in topic
            assert holding(tmp_path, text) == []


async def test_an_erased_users_key_is_in_no_file_and_was_never_in_the_topic(tmp_path: Path) -> None:
    async with open_kafka(tmp_path) as log:
        await write_about(log, USER)
        await write_about(log, "somebody-else", start=1_000)
        key, other = keys_in(tmp_path)
        user_hash = log._files.hashes.user(USER)  # type: ignore[attr-defined]
        assert holding(tmp_path, key) != []
        assert holding(tmp_path, user_hash) != []

        await log.erase(USER)

        topic = topic_bytes(tmp_path)
        assert holding(tmp_path, key) == holding(tmp_path, user_hash) == []
        assert all(secret not in topic for secret in (key, other, user_hash))
        assert len(await events_of(log, "somebody-else")) == 50


async def test_partitions_that_are_added_later_do_not_tear_a_users_order_apart(tmp_path: Path) -> None:
    everything = [event(number, user_id=f"user-{number % 9}") for number in range(45)]
    (tmp_path / "feedback").mkdir()
    companion = open_database(tmp_path / "feedback", FORM)
    Companion(companion).set_fact("topic", topic_of(tmp_path))
    Companion(companion).set_fact("partitions", "2")  # and the topic will have three
    companion.close()

    async with open_kafka(tmp_path) as log:
        await log.append(everything)

        assert {partition for partition, _ in (await log.head()).positions} == {0, 1}
        for user in range(9):
            assert await events_of(log, f"user-{user}") == everything[user::9]


async def test_a_lost_folder_of_keys_is_told_and_not_papered_over(tmp_path: Path) -> None:
    async with open_kafka(tmp_path) as log:
        await log.append([event(1)])
    (tmp_path / "feedback").rename(tmp_path / "lost")

    with pytest.raises(ConfigError, match=re.escape(f"not in {tmp_path / 'feedback'}: restore that")):
        async with open_kafka(tmp_path):
            pass


async def test_a_topic_that_lost_its_records_is_told(tmp_path: Path) -> None:
    broker = Broker()
    options = KafkaOptions(broker.bootstrap, "events", partitions=2, timeout_ms=5_000)
    try:
        async with open_kafka_log(tmp_path / "feedback", clock, options) as log:
            await log.append([event(1)])
    finally:
        broker.stop()
    emptied = Broker(broker.port)
    try:
        with pytest.raises(ConfigError, match="ends before what was acknowledged"):
            async with open_kafka_log(tmp_path / "feedback", clock, options):
                pass
    finally:
        emptied.stop()


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"retention.ms": "604800000"}, "retention.ms=604800000"),
        ({"retention.ms": "-1", "retention.bytes": "1000000"}, "retention.bytes=1000000"),
        ({"retention.ms": "-1", "cleanup.policy": "compact"}, "cleanup.policy=compact"),
    ],
)
async def test_a_topic_whose_brokers_delete_records_stops_the_start(
    tmp_path: Path, config: dict[str, str], told: str
) -> None:
    admin, topic = AdminClient({"bootstrap.servers": shared_broker().bootstrap}), topic_of(tmp_path)
    admin.create_topics([NewTopic(topic, 3, 1, config=config)])[topic].result(10)

    with pytest.raises(ConfigError, match=f"WINNOW_FEEDBACK_KAFKA_TOPIC={topic}.*{told}"):
        async with open_kafka(tmp_path):
            pass


async def test_the_keys_of_one_topic_are_not_used_for_another(tmp_path: Path) -> None:
    async with open_kafka(tmp_path) as log:
        await log.append([event(1)])
    other = KafkaOptions(shared_broker().bootstrap, f"{topic_of(tmp_path)}-other", partitions=3)

    with pytest.raises(ConfigError, match=f"WINNOW_FEEDBACK_KAFKA_TOPIC=.*of the topic {topic_of(tmp_path)} with 3"):
        async with open_kafka_log(tmp_path / "feedback", clock, other):
            pass


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("kafka_bootstrap_servers", "127.0.0.1:1", "WINNOW_FEEDBACK_KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1"),
        ("kafka_properties_path", Path("/nowhere/kafka.properties"), "WINNOW_FEEDBACK_KAFKA_PROPERTIES_PATH=/nowhere"),
        ("kafka_properties_path", "no property", "line 1 is no `name=value`"),
        ("kafka_properties_path", "no.such.property=1", "no.such.property"),
    ],
)
async def test_what_cannot_be_used_stops_the_start_and_is_named(
    tmp_path: Path, setting: str, value: object, told: str
) -> None:
    if setting == "kafka_properties_path" and isinstance(value, str):
        path = tmp_path / "kafka.properties"
        path.write_text(value, encoding="utf-8")
        value = path
    wanted = kafka_settings(tmp_path) | {"kafka_timeout_ms": 1_000, setting: value}
    settings = load(FeedbackSettings, data_dir=tmp_path / "data", **wanted)

    with pytest.raises(ConfigError, match=re.escape(told)):
        async with open_log(settings, clock):
            pass


async def test_every_file_of_a_closed_log_can_be_moved_and_opened_again(tmp_path: Path) -> None:
    async with open_kafka(tmp_path) as log:
        await log.append([event(1), slate("r-1")])
        held = contents(tmp_path)
    assert any(name.endswith("kafka.db") for name in held)

    async with open_kafka(tmp_path) as log:
        assert len(await records(log)) == 2
        assert await log.slate("r-1") is not None


async def test_ids_that_were_lost_are_read_from_the_topic_again_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_writer, "CATCH_UP_RECORDS", 30)
    everything = [event(number, user_id=f"user-{number % 9}") for number in range(100)]
    async with open_kafka(tmp_path) as log:
        await log.append(everything)
    for path in (tmp_path / "feedback" / "event-ids").iterdir():
        path.unlink()

    async with open_kafka(tmp_path):
        pass  # reads the topic in several runs, each of which may write ids down

    async with open_kafka(tmp_path) as log:
        await log.append(everything)

        assert len(await records(log)) == 100


async def test_a_fact_that_fits_into_no_message_is_refused_before_it_costs_the_producer(tmp_path: Path) -> None:
    async with open_kafka(tmp_path) as log:
        with pytest.raises(ServiceError) as told:
            await log.append([event(1), Item("huge", description="x" * (6 << 20))])

        assert told.value.reason.name == ErrorReason.MESSAGE_TOO_LARGE.name
        assert log._writer._transactions.ready  # type: ignore[attr-defined]
        assert await records(log) == []


async def test_a_tombstone_that_a_reader_of_the_file_held_up_goes_in_with_the_next_write(tmp_path: Path) -> None:
    async with open_kafka(tmp_path) as log:
        await write_about(log, USER)
        before = len(await records(log))
        log._writer._connection.execute("PRAGMA busy_timeout = 0")  # type: ignore[attr-defined]
        with other_reader(tmp_path, "kafka.db"), pytest.raises(ServiceError):
            await log.erase(USER)

        await log.append([event(900, user_id=USER)])

        facts = [record.fact for record in await records(log)]
        assert sum(isinstance(fact, Erasure) for fact in facts) == 1
        receipt = await log.erase(USER)
        assert receipt is not None
        assert receipt.records == before + 1
        assert await events_of(log, USER) == []
