"""A real receiver of traces: OpenTelemetry's own gRPC service, which keeps what is sent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    """The spans that came, each with the service that sent it."""

    endpoint: str = ""
    spans: list[tuple[str, Span]] = field(default_factory=list)

    def Export(
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Keep them."""
        for each in request.resource_spans:
            names = {attribute.key: attribute.value.string_value for attribute in each.resource.attributes}
            self.spans += [(names["service.name"], span) for scope in each.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def edges(self, trace_id: bytes) -> set[tuple[str, str, str]]:
        """(calling service, called service, method) of every call in a trace: a server's span under a client's."""
        spans = [(service, span) for service, span in list(self.spans) if span.trace_id == trace_id]
        callers = {span.span_id: service for service, span in spans if span.kind == Span.SPAN_KIND_CLIENT}
        return {
            (callers[span.parent_span_id], service, span.name)
            for service, span in spans
            if span.kind == Span.SPAN_KIND_SERVER and span.parent_span_id in callers
        }


@contextmanager
def receiving() -> Iterator[Traces]:
    """A receiver on a free port until the block ends."""
    traces = Traces()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(traces, server)
    traces.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield traces
    finally:
        server.stop(None).wait()
