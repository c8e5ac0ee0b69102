"""What the settings of a topic must not do: forget. A topic that somebody else made has Kafka's own seven days.

The log is what everything is rebuilt from, and Winnow is never told what a broker deletes: catalogue, profiles and
histories would be missing after the next replay, and nowhere before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from typing import Any, Final, Protocol

import structlog
from confluent_kafka import KafkaException
from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]  # named there, untyped

from shared.kernel.config import ConfigError

ENDLESS: Final = ("retention.ms", "retention.bytes")
POLICY: Final = "cleanup.policy"
KEEPING_POLICY: Final = "delete"
"""With endless retention it deletes nothing; `compact` keeps one record of each user."""
ANSWER_S: Final = 5.0

log = structlog.get_logger()


class ConfigTeller(Protocol):
    """What is needed of an `AdminClient`."""

    def describe_configs(
        self, resources: list[ConfigResource], *, request_timeout: float
    ) -> Mapping[ConfigResource, Future[Any]]:
        """The settings of resources."""


def refuse_a_topic_that_forgets(admin: ConfigTeller, topic: str) -> None:
    """Look at the settings of the log's topic; where the cluster does not tell them, that is logged.

    Raises:
        ConfigError: the brokers would delete records of it; names each setting and the remedy.
    """
    try:
        asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)], request_timeout=ANSWER_S)
        (answer,) = asked.values()
        told = {name: entry.value for name, entry in answer.result(ANSWER_S).items()}
    except (KafkaException, TimeoutError) as error:
        log.warning("kafka_topic.settings_unknown", topic=topic, reason=str(error))
        return
    if wrong := dict(_forgetting(told)):
        found = ", ".join(f"{name}={told[name]}" for name in wrong)
        remedy = ",".join(f"{name}={value}" for name, value in wrong.items())
        raise ConfigError(
            f"WINNOW_FEEDBACK_KAFKA_TOPIC={topic}: its brokers delete records of it by themselves ({found}), and with "
            f"them the catalogue and histories that everything is rebuilt from; change it, e.g. with `kafka-configs.sh "
            f"--alter --entity-type topics --entity-name {topic} --add-config {remedy}`"
        )


def _forgetting(told: Mapping[str, str | None]) -> Iterator[tuple[str, str]]:
    """Settings by which records go, and what they must be."""
    for name in ENDLESS:
        value = told.get(name)
        if value is not None and int(value) >= 0:
            yield name, "-1"
    if (told.get(POLICY) or KEEPING_POLICY) != KEEPING_POLICY:
        yield POLICY, KEEPING_POLICY
