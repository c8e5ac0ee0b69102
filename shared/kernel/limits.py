"""How much a process takes on, as a deployment sets it."""

from __future__ import annotations

from pydantic import Field

from shared.kernel.admission import RequestLimits
from shared.kernel.config import ServiceSettings
from shared.kernel.policy import Rate


class LimitSettings(ServiceSettings, prefix="LIMIT"):
    """What one caller and all callers may ask of a service, and how it lets go of them."""

    request_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="largest message that is read")
    default_deadline_ms: int = Field(10_000, ge=1, description="deadline of calls that come without one")
    in_flight_requests: int = Field(1_000, ge=1, description="calls that are answered at the same time")
    streams: int = Field(1_000, ge=1, description="streams that are open at the same time")
    streams_per_client: int = Field(200, ge=1, description="streams of one caller that are open at the same time")
    stream_idle_seconds: float = Field(
        300, ge=0, description="a caller that streams events and sends none for so long is let go; 0: never"
    )
    backlog_ms: int = Field(
        100, ge=0, description="calls are refused while they wait longer than this before they are taken up; 0: never"
    )
    requests_per_second: float = Field(
        0, ge=0, description="calls of one caller, where the policy says nothing else; 0: as many as it likes"
    )
    burst_requests: int = Field(0, ge=0, description="calls of one caller at once; 0: those of two seconds")
    connection_age_minutes: float = Field(
        30, ge=0, description="connections are replaced after it, so that load and new certificates spread; 0: never"
    )
    lame_duck_ms: int = Field(
        0, ge=0, description="a stopping service answers so long and says NOT_SERVING, until balancers turn away"
    )
    drain_grace_ms: int = Field(10_000, ge=0, description="time that calls in flight get to end after that")

    def requests(self) -> RequestLimits:
        """What requests may ask of a server."""
        return RequestLimits(
            max_request_bytes=self.request_bytes,
            default_deadline_ms=self.default_deadline_ms,
            max_in_flight=self.in_flight_requests,
            max_streams=self.streams,
            max_streams_per_client=self.streams_per_client,
            stream_idle_ms=round(self.stream_idle_seconds * 1000),
            backlog_ms=self.backlog_ms,
        )

    def rate(self) -> Rate | None:
        """How often one caller may call; None: as often as it likes."""
        return Rate.of(self.requests_per_second, self.burst_requests) if self.requests_per_second else None
