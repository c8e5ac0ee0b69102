"""A trace that a caller began goes on through every service."""

from __future__ import annotations

import secrets

from opentelemetry.proto.trace.v1.trace_pb2 import Span
from winnow.v1 import recommendation_service_pb2, recommendation_service_pb2_grpc

from tests.deploy.processes import SHOP, Deployment
from tests.e2e.product import wait_until
from tests.otlp_receiver import Traces

CALL_SECONDS = 10
EDGES = {
    ("recommendation", "feature", "winnow.v1.FeatureService/GetUserState"),
    ("recommendation", "candidate_generation", "winnow.v1.CandidateGenerationService/RetrieveCandidates"),
}

STAGES = {"hydrate", "retrieve", "rank", "select"}


def recommend(deployment: Deployment, trace_id: bytes, *, sampled: bool) -> None:
    """Ask for a slate as part of a trace."""
    traceparent = f"00-{trace_id.hex()}-{secrets.token_hex(8)}-{'01' if sampled else '00'}"
    with deployment.calling("recommendation", SHOP) as channel:
        recommendation_service_pb2_grpc.RecommendationServiceStub(channel).Recommend(
            recommendation_service_pb2.RecommendRequest(user_id="traced"),
            timeout=CALL_SECONDS,
            metadata=(("traceparent", traceparent),),
        )


def stages_of(traces: Traces, trace_id: bytes) -> list[set[str]]:
    """The spans of stages that stand under each of the front's own spans."""
    spans = [span for name, span in list(traces.spans) if name == "recommendation" and span.trace_id == trace_id]
    requests = [span for span in spans if span.name == "winnow.v1.RecommendationService/Recommend"]
    return [{each.name for each in spans if each.parent_span_id == request.span_id} for request in requests]


def callers_of(traces: Traces, trace_id: bytes, method: str) -> set[str]:
    """The spans under which the front calls a method."""
    spans = {span.span_id: span for _, span in list(traces.spans) if span.trace_id == trace_id}
    calls = [span for span in spans.values() if span.name == method and span.kind == Span.SPAN_KIND_CLIENT]
    return {spans[call.parent_span_id].name for call in calls if call.parent_span_id in spans}


def test_a_trace_has_an_edge_from_the_front_to_each_service_that_it_asks(
    deployment: Deployment, traces: Traces
) -> None:
    trace_id = secrets.token_bytes(16)

    def whole() -> bool:
        """Whether the trace has all edges; another slate is asked for when a busy machine left a stage of one out."""
        recommend(deployment, trace_id, sampled=True)
        return traces.edges(trace_id) >= EDGES and any(stages >= STAGES for stages in stages_of(traces, trace_id))

    wait_until(whole, 60, lambda: f"{traces.edges(trace_id)} {stages_of(traces, trace_id)}")

    assert traces.edges(trace_id) >= EDGES
    assert any(stages >= STAGES for stages in stages_of(traces, trace_id))
    assert callers_of(traces, trace_id, "winnow.v1.FeatureService/GetUserState") == {"hydrate"}
    assert callers_of(traces, trace_id, "winnow.v1.CandidateGenerationService/RetrieveCandidates") == {"retrieve"}
