"""Settings of the feedback service."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from services.feedback.retention import DAY_MS, RetentionAges
from shared.kernel.hosting import ListeningSettings


class FeedbackSettings(ListeningSettings, prefix="FEEDBACK"):
    """Where the feedback service listens, what it takes and how it writes.

    What it keeps on the disk lies in `<data dir>/feedback`: the log itself, or for a log in Kafka the users' keys.
    """

    address: str = Field("127.0.0.1:50055", description="host:port that the service listens on")
    metrics_port: int = Field(51055, ge=0, le=65535, description="port of Prometheus metrics; 0 takes a free one")
    future_skew_ms: int = Field(
        600_000, ge=0, description="how far in the future the time of an event or a slate may lie before it is refused"
    )
    group_bytes: int = Field(
        4 * 1024 * 1024, ge=1_024, description="what one transaction of the log writes at most, about"
    )
    waiting_bytes: int = Field(
        32 * 1024 * 1024, ge=1_024, description="writers are held up when this much waits for the disk"
    )
    ids_in_memory: int = Field(
        131_072, ge=16, description="event ids, 100 bytes each, that wait in memory before they are written to the disk"
    )
    retention_events_days: int = Field(
        0, ge=0, le=36_500,
        description="how long events other than impressions, hides and follows are kept; 0: for ever",
    )  # fmt: skip
    retention_impressions_days: int = Field(
        0, ge=0, le=36_500, description="how long impressions are kept; 0: for ever"
    )
    retention_slates_days: int = Field(0, ge=0, le=36_500, description="how long served slates are kept; 0: for ever")
    retention_replaced_items_days: int = Field(
        0, ge=0, le=36_500,
        description="how long after an upsert the content that it replaced is kept, an item's first one stays; "
        "0: for ever",
    )  # fmt: skip
    registry_url: str = Field(
        "", description="folder or fsspec URL of bundles, for the receipts of erasures; empty: DATA_DIR/registry"
    )
    log: Literal["sqlite", "kafka"] = Field(
        "sqlite", description="what the event log is written to; kafka needs `pip install winnow[kafka]`"
    )
    kafka_bootstrap_servers: str = Field(
        "127.0.0.1:9092", min_length=1, description="brokers of a log in Kafka: host:port, comma-separated"
    )
    kafka_topic: str = Field(
        "winnow-events", min_length=1, description="topic of a log in Kafka; made where it is missing"
    )
    kafka_partitions: int = Field(6, ge=1, le=10_000, description="partitions of a topic that is made")
    kafka_replication_factor: int = Field(
        -1, ge=-1, description="replicas of a topic that is made; -1 takes the cluster's default"
    )
    kafka_timeout_ms: int = Field(
        10_000, ge=1_000, description="after this a read from or a write to Kafka has failed, and its caller is told"
    )
    kafka_properties_path: Path | None = Field(
        None, description="file of more librdkafka properties, a `name=value` a line: security.protocol, sasl.password"
    )

    @property
    def retention(self) -> RetentionAges:
        """How old facts may become."""
        days = (
            self.retention_events_days, self.retention_impressions_days, self.retention_slates_days,
            self.retention_replaced_items_days,
        )  # fmt: skip
        return RetentionAges(*(each * DAY_MS for each in days))
