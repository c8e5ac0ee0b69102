"""Reads a topic from a position on, in a thread of its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, TopicPartition

from services.feedback.kafka_client import KafkaOptions, kafka_error, kafka_unavailable, open_consumer
from services.feedback.kafka_record import KafkaRecord, unpacked
from shared.domain.watermark import Watermark
from shared.kernel.errors import ServiceError

POLL_S: Final = 0.1
HELD_RECORDS: Final = 5_000
"""When this many wait behind the border, partitions that have reached theirs are not fetched meanwhile."""
BATCH_BYTES: Final = 1 << 20
"""A batch ends behind the record that fills this: a batch is a message."""


class KafkaCursor:
    """One consumer. Belongs to one thread at a time.

    Args:
        options: of the topic.
    """

    def __init__(self, options: KafkaOptions) -> None:
        self._options = options
        self._consumer = open_consumer(options)
        self._waiting: deque[KafkaRecord] = deque()
        self._ends: dict[int, int] = {}
        self._paused: set[int] = set()

    def assign(self, partitions: Sequence[int], after: Watermark) -> None:
        """Go to a position of these partitions."""
        self._waiting.clear()
        self._ends.clear()
        self._paused.clear()
        self._consumer.assign(
            [TopicPartition(self._options.topic, partition, after.offset(partition)) for partition in partitions]
        )

    def next(self, until: Watermark, done: Watermark, limit: int) -> tuple[list[KafkaRecord], Watermark]:
        """The next records before a position; no record: there is none before it any more.

        Args:
            until: of committed records; partitions that it does not name are not read.
            done: where the reader is.
            limit: records at most; fewer when they are large.

        Returns:
            The records, and where the reader is behind them.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE: nothing came in time.
        """
        deadline = time.monotonic() + self._options.timeout_ms / 1000
        while True:
            batch = self._take(until, limit)
            done = _behind(batch, done)
            if batch:
                return batch, done
            done = self._over_gaps(until, done)
            if done.covers(until):
                return [], done
            if time.monotonic() > deadline:
                raise kafka_unavailable(self._options, "nothing was delivered in time")
            self._pause(until, done)
            self._poll(limit)

    def rest(self, count: int, limit: int) -> list[KafkaRecord]:
        """The next records of an end that nobody knows; none: all `count` partitions are read to their end.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE: nothing came in time.
        """
        deadline = time.monotonic() + self._options.timeout_ms / 1000
        while not self._waiting and len(self._ends) < count:
            if time.monotonic() > deadline:
                raise kafka_unavailable(self._options, "nothing was delivered in time")
            self._poll(limit)
        found = list(self._waiting)
        self._waiting.clear()
        return found

    def ends(self, partitions: Sequence[int]) -> dict[int, int]:
        """Behind which offset each partition has nothing.

        Raises:
            KafkaException: the cluster does not answer.
        """
        seconds = self._options.timeout_ms / 1000
        found = {}
        for partition in partitions:
            place = TopicPartition(self._options.topic, partition)
            found[partition] = self._consumer.get_watermark_offsets(place, timeout=seconds)[1]
        return found

    def close(self) -> None:
        """Let go of the cluster."""
        self._consumer.close()

    def _pause(self, until: Watermark, done: Watermark) -> None:
        finished = {partition for partition, border in until.positions if done.offset(partition) >= border}
        wanted = finished if len(self._waiting) > HELD_RECORDS else set()
        if wanted != self._paused:
            self._consumer.resume(self._places(self._paused - wanted))
            self._consumer.pause(self._places(wanted - self._paused))
            self._paused = wanted

    def _places(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._options.topic, partition) for partition in partitions]

    def _poll(self, limit: int) -> None:
        first = self._consumer.poll(POLL_S)
        if first is None:
            return
        self._receive(first)
        for message in self._consumer.consume(limit, 0):  # would wait for all of them: so it may not wait
            self._receive(message)

    def _receive(self, message: Any) -> None:
        error = message.error()
        if error is None:
            self._ends.pop(message.partition(), None)
            self._waiting.append(self._record(message))
        elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the library's own name
            self._ends[message.partition()] = message.offset()
        elif not error.retriable():
            raise kafka_error(error, self._options)

    def _record(self, message: Any) -> KafkaRecord:
        try:
            return unpacked(message)
        except ValueError as error:
            raise _foreign(self._options, str(error)) from error

    def _take(self, until: Watermark, limit: int) -> list[KafkaRecord]:
        batch: list[KafkaRecord] = []
        later: list[KafkaRecord] = []
        size = 0
        borders = dict(until.positions)
        while self._waiting and len(batch) < limit and size < BATCH_BYTES:
            record = self._waiting.popleft()
            if record.offset < borders.get(record.partition, 0):
                batch.append(record)
                size += len(record.payload)
            else:
                later.append(record)
        self._waiting.extendleft(reversed(later))
        return batch

    def _over_gaps(self, until: Watermark, done: Watermark) -> Watermark:
        """Behind what retention took away: a partition that has ended before its border has nothing left there."""
        held = {record.partition for record in self._waiting}
        ended = [
            (partition, border)
            for partition, border in until.positions
            if self._ends.get(partition, -1) >= border or (partition in held and done.offset(partition) < border)
        ]
        return done.joined(Watermark(tuple(ended)))


def _behind(batch: Sequence[KafkaRecord], done: Watermark) -> Watermark:
    if not batch:
        return done
    last: dict[int, int] = {}
    for record in batch:
        last[record.partition] = record.offset + 1
    return done.joined(Watermark(tuple(sorted(last.items()))))


def _foreign(options: KafkaOptions, why: str) -> ServiceError:
    return kafka_unavailable(options, f"{why}; give the log a topic of its own")
