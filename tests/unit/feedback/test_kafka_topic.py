"""How many partitions a topic has, from brokers that may not know it yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from services.feedback.kafka_client import KafkaOptions, partitions_told

UNKNOWN = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)


@dataclass
class Brokers:
    """Brokers that know the topic after some questions; meanwhile they tell an error, or nothing.

    Attributes:
        answers: error and number of partitions, question after question; the last one stays.
    """

    answers: list[tuple[KafkaError | None, int]]
    asked: int = field(default=0)

    def list_topics(self, topic: str, timeout: float) -> SimpleNamespace:
        """As `confluent_kafka.admin.AdminClient` does."""
        assert timeout > 0
        error, count = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return SimpleNamespace(topics={topic: SimpleNamespace(error=error, partitions=dict.fromkeys(range(count)))})


def test_brokers_that_do_not_know_the_topic_yet_are_asked_again() -> None:
    brokers = Brokers([(UNKNOWN, 0), (None, 0), (None, 6)])

    assert partitions_told(brokers, KafkaOptions("somewhere:1", "events")) == 6
    assert brokers.asked == 3


def test_a_topic_that_stays_without_partitions_is_an_error_and_not_a_number() -> None:
    with pytest.raises(KafkaException, match="UNKNOWN_TOPIC_OR_PART"):
        partitions_told(Brokers([(UNKNOWN, 0)]), KafkaOptions("somewhere:1", "events", timeout_ms=100))
