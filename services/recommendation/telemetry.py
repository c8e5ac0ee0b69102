"""What the front measures beyond what the kernel measures of every service."""

from __future__ import annotations

from typing import Final

from opentelemetry import trace

from shared.domain.provenance import Provenance
from shared.kernel.context import annotate
from shared.kernel.telemetry import DEGRADED, STAGE_SECONDS, counter, gauge

SLATES_LOST: Final = counter("recommendation_slates_lost", "Served slates that will never be in the log.")
SLATES_WAITING: Final = gauge("recommendation_slates_waiting", "Served slates that are not durable yet.")
SURFACES_REFUSED: Final = gauge(
    "recommendation_surfaces_refused", "1 while a mistake in the surfaces' files keeps the old configuration at work."
)
QUALITY_FACTOR: Final = gauge(
    "recommendation_quality_factor", "Share of the candidates that is ranked; below 1 while answers miss their target."
)


def observe(provenance: Provenance, candidates: int) -> None:
    """Metrics, the request's log line and its span, all from the header of its answer."""
    span = trace.get_current_span()
    for timing in provenance.stage_timings:
        STAGE_SECONDS.labels(timing.stage).observe(timing.duration_ms / 1e3)
        if span.is_recording():
            span.add_event(timing.stage, {"duration_ms": timing.duration_ms})
    for lost in provenance.degraded:
        DEGRADED.labels(lost.stage, lost.reason).inc()
    degraded = ",".join(f"{lost.stage}:{lost.reason}" for lost in provenance.degraded)
    annotate(candidates=candidates, degraded=degraded, model_version=provenance.model_version)
