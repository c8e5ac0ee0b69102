"""The producer: messages go into the topic all or none. Belongs to one thread.

After a failure the producer is given up. The next one, with the same `transactional.id`, ends what the old one left
unfinished and shuts it out, so that nothing of it can come late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaException, Producer

from services.feedback.kafka_client import KafkaOptions, open_producer
from services.feedback.kafka_record import partition_of
from shared.kernel.clock import Clock

LEAST_WAIT_S: Final = 0.1

Place = tuple[int, int]
"""Partition and offset."""


class Message(NamedTuple):
    """What is written: see `kafka_record`."""

    key: bytes
    value: bytes


class KafkaTransactions:
    """Transactions of one topic.

    Args:
        options: of the topic.
        partitions: that messages are spread over.
        clock: what time it is.
    """

    def __init__(self, options: KafkaOptions, partitions: int, clock: Clock) -> None:
        self._options = options
        self._partitions = partitions
        self._clock = clock
        self._producer: Producer | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a producer that has not failed."""
        return self._producer is not None

    def begin(self) -> None:
        """Take the topic over.

        Raises:
            KafkaException: the cluster does not answer in time.
        """
        producer = open_producer(self._options)
        producer.init_transactions(self._options.timeout_ms / 1000)
        self._producer = producer

    def end(self) -> None:
        """Give the producer up."""
        self._producer = None

    def write(self, messages: Sequence[Message], asked: Sequence[int]) -> tuple[dict[int, Place], dict[int, int]]:
        """Write messages; durable on every replica in sync when it returns.

        Args:
            messages: at least one.
            asked: rows whose places are wanted.

        Returns:
            The places by row, and by partition the offset behind its last message.

        Raises:
            KafkaException, BufferError: it failed, or nobody knows: `begin` again and read what is there.
        """
        producer = self._producer
        if producer is None:
            raise RuntimeError("begin() comes before write()")
        partitions = [partition_of(message.key, self._partitions) for message in messages]
        last = {partition: row for row, partition in enumerate(partitions)}
        places: dict[int, Place] = {}
        heard: dict[int, Callable[[Any, Any], None]] = {
            row: partial(_delivered, places, row) for row in {*last.values(), *asked}
        }
        now_ms = self._clock()
        try:
            producer.begin_transaction()
            for row, (message, partition) in enumerate(zip(messages, partitions, strict=True)):
                producer.produce(
                    self._options.topic, message.value, message.key, partition,
                    on_delivery=heard.get(row), timestamp=now_ms,
                )  # fmt: skip
            self._commit(producer)
        except BaseException:
            self._producer = None
            producer.purge()
            raise
        return places, {partition: places[row][1] + 1 for partition, row in last.items()}

    def _commit(self, producer: Producer) -> None:
        """Commit, again while the library says that this is safe and there is time."""
        deadline = time.monotonic() + self._options.timeout_ms / 1000
        while True:
            left_s = deadline - time.monotonic()
            try:
                producer.commit_transaction(max(LEAST_WAIT_S, left_s))
            except KafkaException as error:
                if error.args[0].retriable() and left_s > 0:
                    continue
                raise
            return


def _delivered(places: dict[int, Place], row: int, error: Any, message: Any) -> None:
    if error is None:
        places[row] = (message.partition(), message.offset())
