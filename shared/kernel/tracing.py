"""Spans through OpenTelemetry: nothing is recorded, and next to nothing spent, until a collector is configured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from grpc import StatusCode
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind
from opentelemetry.util.types import AttributeValue

from shared.kernel.slow_traces import RecordsAll, SlowTraces
from shared.kernel.telemetry import SpanAttribute

TRACER: Final = "winnow"
FAULTS: Final = frozenset({StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.UNAVAILABLE, StatusCode.DATA_LOSS})

_NOTHING: Final = nullcontext()

_tracer: trace.Tracer | None = None


@contextmanager
def configure_tracing(
    service_name: str, otlp_endpoint: str, sample_ratio: float = 1.0, exporter: SpanExporter | None = None
) -> Iterator[None]:
    """Sends spans to an OpenTelemetry collector (`http://host:4317`), or to `exporter`; with neither it does nothing.

    A caller's decision to sample is kept; of the requests without one, `sample_ratio` are sampled. What was slow or
    failed is sent whatever the sampling.
    """
    global _tracer  # noqa: PLW0603 - like OpenTelemetry's own provider, one a process
    if not otlp_endpoint and exporter is None:
        yield
        return
    provider = TracerProvider(
        sampler=RecordsAll(ParentBased(TraceIdRatioBased(sample_ratio))),
        resource=Resource.create({SERVICE_NAME: service_name}),
    )
    insecure = not otlp_endpoint.startswith("https://")
    sending = BatchSpanProcessor(exporter or OTLPSpanExporter(otlp_endpoint, insecure=insecure))
    provider.add_span_processor(sending)
    provider.add_span_processor(SlowTraces(sending))
    _tracer = provider.get_tracer(TRACER)
    try:
        yield
    finally:
        _tracer = None
        provider.shutdown()


def start_server_span(method: str, metadata: Mapping[str, str], request_id: str, *, streams: bool = False) -> Span:
    """Begins the span of a request, under the caller's span if there is one, and makes it the current one.

    A request that `streams` lasts as long as somebody listens; it is never slow.
    """
    if _tracer is None:
        return INVALID_SPAN
    parent = propagate.extract(metadata)
    attributes: dict[str, AttributeValue] = {
        SpanAttribute.SYSTEM: "grpc",
        SpanAttribute.METHOD: method,
        SpanAttribute.REQUEST_ID: request_id,
        SpanAttribute.STREAM: streams,
    }
    span = _tracer.start_span(method, context=parent, kind=SpanKind.SERVER, attributes=attributes)
    # Never detached: the request's task ends with the request, and its context with it.
    otel_context.attach(trace.set_span_in_context(span, parent))
    return span


def start_client_span(method: str) -> tuple[Span, dict[str, str]]:
    """Begins the span of an outgoing call; gives the metadata that tells the peer of it."""
    headers: dict[str, str] = {}
    if _tracer is None:
        return INVALID_SPAN, headers
    span = _tracer.start_span(method, kind=SpanKind.CLIENT, attributes={SpanAttribute.SYSTEM: "grpc"})
    propagate.inject(headers, trace.set_span_in_context(span))
    return span, headers


def sampled() -> bool:
    """Whether the request that is being answered is part of a trace that is sent."""
    return _tracer is not None and trace.get_current_span().get_span_context().trace_flags.sampled


def inner_span(name: str) -> AbstractContextManager[object]:
    """A part of a request as a span of its own, under which calls made inside stand; costs nothing when not sampled."""
    if _tracer is None or not sampled():
        return _NOTHING
    return _tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False)


def end_span(span: Span, code: StatusCode) -> None:
    """Ends a span with the call's canonical code."""
    if span is INVALID_SPAN:
        return
    span.set_attribute(SpanAttribute.CODE, code.value[0])
    if code in FAULTS:
        span.set_status(trace.StatusCode.ERROR, code.name)
    span.end()
