"""Clients of Kafka: how they are set up, the topic, and what the cluster says as the one error that a caller gets.

Writes are transactions of one producer whose `transactional.id` is the topic's: a group of facts is kept as a whole or
not at all, and a writer that was taken for dead can write no more (https://kafka.apache.org/documentation/#semantics).
Reads assign their partitions themselves and see committed transactions only; consumer groups are not used.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from services.feedback.kafka_topic_rules import refuse_a_topic_that_forgets
from services.feedback.storage_errors import COMPONENT
from services.feedback.telemetry import STORAGE_FAILURES
from shared.kernel.config import ConfigError
from shared.kernel.errors import ErrorReason, ServiceError

MESSAGE_BYTES: Final = 5 << 20
ROOM_BYTES: Final = 4 << 10
"""Of a message, for what goes with a payload: key, nonce, tag, frame."""
LARGEST_PAYLOAD_BYTES: Final = MESSAGE_BYTES - ROOM_BYTES
LOOK_AGAIN_S: Final = 0.05
READ_AHEAD_KIB: Final = 8 << 10
TOPIC_CONFIG: Final = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "max.message.bytes": str(MESSAGE_BYTES + (1 << 20)),
}
QUICK_RETRIES: Final = {
    "topic.metadata.refresh.fast.interval.ms": 50,
    "retry.backoff.ms": 50,
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1_000,
    "log_level": 3,
}
OVERLOADED: Final = frozenset({KafkaError._QUEUE_FULL, KafkaError.THROTTLING_QUOTA_EXCEEDED})  # noqa: SLF001  # named so
TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})

library_log = logging.getLogger("kafka")


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """Where the log is.

    Attributes:
        bootstrap_servers: host:port, comma-separated.
        topic: holds the log; made when it is missing.
        partitions: of a topic that is made.
        replication_factor: of a topic that is made; -1 is the cluster's default.
        timeout_ms: after this a write or a read has failed.
        properties: more of librdkafka's, e.g. `security.protocol`; those that durability rests on cannot be changed.
    """

    bootstrap_servers: str
    topic: str
    partitions: int = 6
    replication_factor: int = -1
    timeout_ms: int = 10_000
    properties: Mapping[str, str] = field(default_factory=dict)


def open_producer(options: KafkaOptions) -> Producer:
    """A producer that has yet to `init_transactions`."""
    return Producer(
        QUICK_RETRIES
        | dict(options.properties)
        | {
            "bootstrap.servers": options.bootstrap_servers,
            "transactional.id": f"winnow-feedback-{options.topic}",
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "message.max.bytes": MESSAGE_BYTES,
            "message.timeout.ms": options.timeout_ms,
            "transaction.timeout.ms": options.timeout_ms,
            "queue.buffering.max.messages": 1_000_000,
        },
        logger=library_log,
    )


def open_consumer(options: KafkaOptions) -> Consumer:
    """A consumer without a group; whoever opens it assigns partitions."""
    return Consumer(
        QUICK_RETRIES
        | {"check.crcs": True}
        | dict(options.properties)
        | {
            "bootstrap.servers": options.bootstrap_servers,
            "group.id": "winnow-feedback",  # asked for by the library; never joined
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
            "fetch.error.backoff.ms": 50,
            "fetch.max.bytes": READ_AHEAD_KIB << 10,
            "fetch.message.max.bytes": MESSAGE_BYTES + (1 << 20),
            "queued.max.messages.kbytes": READ_AHEAD_KIB,
        },
        logger=library_log,
    )


def topic_partitions(options: KafkaOptions) -> int:
    """How many partitions the topic has; makes it where it is missing.

    Raises:
        ConfigError: the cluster does not answer, or does not let us, or the topic forgets; names the setting.
    """
    properties: dict[str, str | int | float | bool] = dict(options.properties)
    seconds = options.timeout_ms / 1000
    try:
        admin = AdminClient(properties | {"bootstrap.servers": options.bootstrap_servers}, logger=library_log)
        if options.topic not in admin.list_topics(timeout=seconds).topics:
            new = NewTopic(options.topic, options.partitions, options.replication_factor, config=TOPIC_CONFIG)
            for made in admin.create_topics([new], request_timeout=seconds).values():
                made.result(seconds)
        partitions = partitions_told(admin, options)
    except (KafkaException, TimeoutError) as error:
        why = error.args[0].str() if isinstance(error, KafkaException) else "no answer in time"
        raise ConfigError(
            f"WINNOW_FEEDBACK_KAFKA_BOOTSTRAP_SERVERS={options.bootstrap_servers}: the topic {options.topic} can "
            f"neither be read nor made ({why}); check that the brokers run, and the credentials in "
            f"WINNOW_FEEDBACK_KAFKA_PROPERTIES_PATH"
        ) from error
    refuse_a_topic_that_forgets(admin, options.topic)
    return partitions


class TopicLister(Protocol):
    """What is needed of an `AdminClient`."""

    def list_topics(self, topic: str, timeout: float) -> Any:
        """The cluster as it sees a topic."""


def partitions_told(admin: TopicLister, options: KafkaOptions) -> int:
    """How many the topic has, as soon as the brokers know it; until then they tell an error or no partitions.

    Raises:
        KafkaException: they did not know it in time.
    """
    end = time.monotonic() + options.timeout_ms / 1000
    while True:
        told = admin.list_topics(options.topic, timeout=options.timeout_ms / 1000).topics[options.topic]
        if told.error is None and told.partitions:
            return len(told.partitions)
        if time.monotonic() > end:
            raise KafkaException(told.error or KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        time.sleep(LOOK_AGAIN_S)


@contextmanager
def kafka_errors(options: KafkaOptions) -> Iterator[None]:
    """Turns what the library raises into `ServiceError`.

    Raises:
        ServiceError: STORAGE_UNAVAILABLE, OVERLOADED, MESSAGE_TOO_LARGE.
    """
    try:
        yield
    except BufferError as error:
        raise _counted(_overloaded(options)) from error
    except KafkaException as error:
        raise _counted(kafka_error(error.args[0], options)) from error


def kafka_error(error: Any, options: KafkaOptions) -> ServiceError:
    """What to tell the caller of a `KafkaError`."""
    if error.code() in OVERLOADED:
        return _overloaded(options)
    if error.code() in TOO_LARGE:
        return too_large(options, "raise its max.message.bytes")
    return kafka_unavailable(options, f"{error.name()}: {error.str()}")


def too_large(options: KafkaOptions, remedy: str) -> ServiceError:
    """For whoever brings a fact that fits into no message."""
    message = f"a fact is larger than the topic {options.topic} takes: {remedy}"
    return ServiceError(ErrorReason.MESSAGE_TOO_LARGE, message, metadata={"topic": options.topic})


def kafka_unavailable(options: KafkaOptions, why: str) -> ServiceError:
    """For whoever reads or writes while the cluster cannot."""
    message = (
        f"the event log in Kafka's topic {options.topic} cannot be read or written ({why}): nothing was acknowledged; "
        f"call again with the same event ids"
    )
    return ServiceError(ErrorReason.STORAGE_UNAVAILABLE, message, metadata={"component": COMPONENT})


def _overloaded(options: KafkaOptions) -> ServiceError:
    message = f"Kafka takes no more for the topic {options.topic} at the moment: call again later"
    return ServiceError(ErrorReason.OVERLOADED, message, metadata={"topic": options.topic})


def _counted(told: ServiceError) -> ServiceError:
    STORAGE_FAILURES.labels(told.reason.name).inc()
    return told
