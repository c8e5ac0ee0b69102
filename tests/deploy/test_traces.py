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


def recommend(deployment: Deployment, trace_id: bytes, *, sampled: bool) -> None:
    """Ask for a slate as part of a trace."""
    traceparent = f"00-{trace_id.hex()}-{secrets.token_hex(8)}-{'01' if sampled else '00'}"
    with deployment.calling("recommendation", SHOP) as channel:
        recommendation_service_pb2_grpc.RecommendationServiceStub(channel).Recommend(
            recommendation_service_pb2.RecommendRequest(user_id="traced"),
            timeout=CALL_SECONDS,
            metadata=(("traceparent", traceparent),),
        )


def test_a_trace_has_an_edge_from_the_front_to_each_service_that_it_asks(
    deployment: Deployment, traces: Traces
) -> None:
    trace_id = secrets.token_bytes(16)

    recommend(deployment, trace_id, sampled=True)

    wait_until(lambda: traces.edges(trace_id) >= EDGES, 60, lambda: str(traces.edges(trace_id)))
    (front,) = [span for name, span in traces.spans if name == "recommendation" and span.trace_id == trace_id
                and span.name == "winnow.v1.RecommendationService/Recommend"]  # fmt: skip
    assert {"hydrate", "retrieve", "rank", "select"} <= {event.name for event in front.events}
