"""A trace that a caller began goes on through every service."""

from __future__ import annotations

import secrets

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


def told(traces: Traces, trace_id: bytes) -> list[set[str]]:
    """The stages that each of the front's own spans tells of."""
    return [{event.name for event in span.events} for name, span in list(traces.spans) if name == "recommendation"
            and span.trace_id == trace_id and span.name == "winnow.v1.RecommendationService/Recommend"]  # fmt: skip


def test_a_trace_has_an_edge_from_the_front_to_each_service_that_it_asks(
    deployment: Deployment, traces: Traces
) -> None:
    trace_id = secrets.token_bytes(16)

    def whole() -> bool:
        """Whether the trace has all edges; another slate is asked for when a busy machine left a stage of one out."""
        recommend(deployment, trace_id, sampled=True)
        return traces.edges(trace_id) >= EDGES and any(stages >= STAGES for stages in told(traces, trace_id))

    wait_until(whole, 60, lambda: f"{traces.edges(trace_id)} {told(traces, trace_id)}")

    assert traces.edges(trace_id) >= EDGES
    assert any(stages >= STAGES for stages in told(traces, trace_id))
