"""Settings of the feature service."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from services.feature.user_view import Lifetimes
from shared.kernel.hosting import ListeningSettings

DAY_MS = 86_400_000


class FeatureSettings(ListeningSettings, prefix="FEATURE"):
    """Where the feature service listens, which log it follows and where it keeps what it learned."""

    address: str = Field("127.0.0.1:50053", description="host:port that the service listens on")
    metrics_port: int = Field(51053, ge=0, le=65535, description="port of Prometheus metrics; 0 takes a free one")
    feedback_address: str = Field("127.0.0.1:50055", description="host:port of the feedback service")
    store: Literal["sqlite", "redis", "memory"] = Field(
        "sqlite", description="where state is kept: sqlite, redis, or memory, which replays the log at each start"
    )
    redis_url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"),
        description="redis://, rediss:// (TLS) or unix://, with user and password where need be; "
        "default: redis://127.0.0.1:6379/0",
    )
    redis_namespace: str = Field(
        "winnow-feature",
        pattern=r"^[A-Za-z0-9_.-]{1,64}$",
        description="begins every key and is their hash tag; each feature service needs its own",
    )
    redis_cluster: bool = Field(default=False, description="whether the URL is that of a node of a Redis Cluster")
    cached_events: int = Field(
        1_000_000,
        ge=1_000,
        description="history events of recently used users that stay in memory, 250 bytes each",
    )
    batch_records: int = Field(
        1_000, ge=1, le=5_000, description="log records applied at a time; requests wait that long, 5 microseconds each"
    )
    joined_entries: int = Field(
        200_000, ge=0, description="shown entries that are remembered to be joined to what follows from them; 0: none"
    )
    store_interval_ms: int = Field(100, ge=1, description="time in which changes gather before they are stored")
    pending_rows: int = Field(
        200_000, ge=1, description="changes that may wait for the store before the log is applied no further"
    )
    served_expiry_minutes: int = Field(1_440, ge=0, description="how long a served item counts as served")
    hidden_expiry_days: int = Field(
        0, ge=0, description="how long what a user hid or blocked counts as such; 0: for ever"
    )
    history_max_age_days: int = Field(
        0, ge=0, description="a history whose latest event is older is reported as OUTSIDE_MAX_AGE; 0: none is"
    )
    profile_max_age_days: int = Field(
        0, ge=0, description="a profile that was sent longer ago is reported as OUTSIDE_MAX_AGE; 0: none is"
    )
    content_max_age_days: int = Field(
        0, ge=0, description="item content that was upserted longer ago is reported as OUTSIDE_MAX_AGE; 0: none is"
    )
    wait_limit_ms: int = Field(
        5_000, ge=0, description="longest wait for min_watermark, also when the caller's deadline is longer"
    )
    retry_first_ms: int = Field(100, ge=1, description="wait before the log or the store is tried again, then doubled")
    retry_limit_ms: int = Field(5_000, ge=1, description="longest wait before the log or the store is tried again")

    @property
    def lifetimes(self) -> Lifetimes:
        """How long things about a user count."""
        return Lifetimes(
            served_ms=self.served_expiry_minutes * 60_000,
            hidden_ms=self.hidden_expiry_days * DAY_MS or None,
            history_age_ms=self.history_max_age_days * DAY_MS,
            profile_age_ms=self.profile_max_age_days * DAY_MS,
        )
