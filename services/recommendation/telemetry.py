"""What the front measures beyond what the kernel measures of every service."""

from __future__ import annotations

from typing import Final

from opentelemetry import trace

from shared.domain.provenance import Provenance
from shared.kernel.context import annotate, detail
from shared.kernel.telemetry import DEGRADED, STAGE_SECONDS, Label, counter, gauge, histogram
from shared.kernel.tracing import sampled

SLATES_LOST: Final = counter("recommendation_slates_lost", "Served slates that will never be in the log.")
SLATES_WAITING: Final = gauge("recommendation_slates_waiting", "Served slates that are not durable yet.")
SURFACES_REFUSED: Final = gauge(
    "recommendation_surfaces_refused", "1 while a mistake in the surfaces' files keeps the old configuration at work."
)
QUALITY_FACTOR: Final = gauge(
    "recommendation_quality_factor", "Share of the candidates that is ranked; below 1 while answers miss their target."
)
CONCURRENCY_LIMIT: Final = gauge(
    "recommendation_concurrency_limit", "Slates that may be made at once; falls while answers come late."
)
CROWDED_OUT: Final = counter("recommendation_crowded_out", "Requests that were refused because all places were taken.")
CANDIDATES: Final = counter("recommendation_candidates", "Candidates that a source added.", [Label.SOURCE])
FILTERED: Final = counter("recommendation_filtered", "Candidates that a filter removed.", [Label.FILTER])
RANKED: Final = histogram(
    "recommendation_ranked", "Candidates that were ranked for one slate.", buckets=(1, 10, 25, 50, 100, 200, 400, 1000)
)
UNDERFILLED: Final = counter("recommendation_underfilled", "Slates with fewer entries than were asked for.")
SOURCE_PREFIX: Final = "source:"
FILTER_PREFIX: Final = "filter:"
"""Of the components that a header counts."""


def observe(provenance: Provenance, candidates: int) -> None:
    """Metrics, the request's log line and its span, all from the header of its answer.

    Of a sampled request each stage is a span already. Others are kept only when they turn out to be slow; their stages
    are events of the one span, which cost less.
    """
    span = trace.get_current_span()
    tells = span.is_recording() and not sampled()
    for timing in provenance.stage_timings:
        STAGE_SECONDS.labels(timing.stage).observe(timing.duration_ms / 1e3)
        if tells:
            span.add_event(timing.stage, {"duration_ms": timing.duration_ms})
    detail(stages_ms={timing.stage: round(timing.duration_ms, 1) for timing in provenance.stage_timings})
    for count in provenance.stage_counts:
        if count.component.startswith(SOURCE_PREFIX):
            CANDIDATES.labels(count.component.removeprefix(SOURCE_PREFIX)).inc(count.entered)
        elif count.component.startswith(FILTER_PREFIX):
            FILTERED.labels(count.component.removeprefix(FILTER_PREFIX)).inc(count.removed)
    for lost in provenance.degraded:
        DEGRADED.labels(lost.stage, lost.reason).inc()
    degraded = ",".join(f"{lost.stage}:{lost.reason}" for lost in provenance.degraded)
    annotate(candidates=candidates, degraded=degraded, model_version=provenance.model_version)
