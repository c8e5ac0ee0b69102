"""Settings of the feedback service."""

from __future__ import annotations

from pydantic import Field

from shared.kernel.hosting import ListeningSettings


class FeedbackSettings(ListeningSettings, prefix="FEEDBACK"):
    """Where the feedback service listens, what it takes and how it writes. The log lies in `<data dir>/feedback`."""

    address: str = Field("127.0.0.1:50055", description="host:port that the service listens on")
    metrics_port: int = Field(51055, ge=0, le=65535, description="port of Prometheus metrics; 0 takes a free one")
    future_skew_ms: int = Field(
        600_000, ge=0, description="how far in the future an event's time may lie before the event is refused"
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
