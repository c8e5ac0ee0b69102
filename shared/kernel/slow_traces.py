"""Keeps the traces of slow and of failed requests that sampling left out.

Such a decision can only be made at the end. So the spans of requests that are not sampled are recorded all the same,
wait for the span of the request itself, and are then sent or forgotten. Each process decides for its own part of a
trace: a slow answer is kept with the calls it made, and those that were slow themselves with theirs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState
from opentelemetry.util.types import Attributes

from shared.kernel.slowness import is_slow
from shared.kernel.telemetry import SpanAttribute

WAITING_TRACES: Final = 1_000
"""Requests in flight whose spans wait; beyond it the oldest are forgotten."""
NANOSECONDS_A_MS: Final = 1e6


class RecordsAll(Sampler):
    """Samples as another sampler does, and has the rest recorded too, without telling other services to."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(  # noqa: PLR0913, PLR0917 - OpenTelemetry's own signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """The other's decision, never less than to record."""
        chosen = self._sampler.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)
        if chosen.decision is Decision.DROP:
            return SamplingResult(Decision.RECORD_ONLY, attributes, chosen.trace_state)
        return chosen

    def get_description(self) -> str:
        """For the SDK's own messages."""
        return f"RecordsAll({self._sampler.get_description()})"


class SlowTraces(SpanProcessor):
    """Hands spans that are not sampled to `kept` when their request turns out to be slow, or failed."""

    def __init__(self, kept: SpanProcessor) -> None:
        self._kept = kept
        self._waiting: OrderedDict[int, list[ReadableSpan]] = OrderedDict()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Nothing yet."""

    def on_end(self, span: ReadableSpan) -> None:
        """One more span of a request, or the request itself, which ends the waiting of the others."""
        context = span.context
        if context is None or context.trace_flags.sampled:
            return
        if span.parent is not None and not span.parent.is_remote:
            self._waiting.setdefault(context.trace_id, []).append(span)
            if len(self._waiting) > WAITING_TRACES:
                self._waiting.popitem(last=False)
            return
        inside = self._taken(context)
        if _worth_keeping(span):
            for each in (*inside, span):
                self._kept.on_end(_sampled(each))

    def shutdown(self) -> None:
        """The other processor is shut down by the provider."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing waits that has been decided."""
        return True

    def _taken(self, request: SpanContext) -> list[ReadableSpan]:
        """What waited for a request; a caller may have others of the same trace in flight, and theirs go on waiting."""
        inside, others, parents = [], [], {request.span_id}
        for span in reversed(self._waiting.pop(request.trace_id, [])):  # who ends last is nobody's child before it
            context, parent = span.context, span.parent
            if context is None or parent is None or parent.span_id not in parents:
                others.append(span)
                continue
            parents.add(context.span_id)
            inside.append(span)
        if others:
            self._waiting[request.trace_id] = others[::-1]
        return inside[::-1]


def _worth_keeping(request: ReadableSpan) -> bool:
    if request.status.status_code is StatusCode.ERROR:
        return True
    if (request.attributes or {}).get(SpanAttribute.STREAM) or request.start_time is None or request.end_time is None:
        return False
    return is_slow((request.end_time - request.start_time) / NANOSECONDS_A_MS)


def _sampled(span: ReadableSpan) -> ReadableSpan:
    """The span as if it had been sampled: exporters leave out others."""
    context = span.context
    assert context is not None, "spans that end have one"  # noqa: S101 - for the type checker
    flags = TraceFlags(context.trace_flags | TraceFlags.SAMPLED)
    return ReadableSpan(
        name=span.name,
        context=SpanContext(context.trace_id, context.span_id, context.is_remote, flags, context.trace_state),
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
