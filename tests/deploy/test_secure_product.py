"""The services as processes in the production profile: they reach each other, and others only what the policy says."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from winnow.v1 import (
    event_pb2,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    monitoring_service_pb2,
    monitoring_service_pb2_grpc,
    privacy_service_pb2,
    privacy_service_pb2_grpc,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
)

from tests.deploy.processes import PAGE_SECRET, PSEUDONYM_KEY, SERVICES, SHOP, Deployment
from tests.e2e.product import wait_until

OPERATOR = "spiffe://winnow/operator"
USER, SEARCHED = "anna.secret@example.org", "a very private search"
CALL_SECONDS = 10


def slate_of(channel: grpc.Channel, user_id: str) -> recommendation_service_pb2.RecommendResponse:
    """A slate, as a caller asks for it."""
    stub = recommendation_service_pb2_grpc.RecommendationServiceStub(channel)
    return stub.Recommend(recommendation_service_pb2.RecommendRequest(user_id=user_id), timeout=CALL_SECONDS)


def test_an_item_travels_through_all_services_to_a_caller_of_another_team(deployment: Deployment) -> None:
    deployment.fill()
    with deployment.calling("recommendation", SHOP) as channel:
        wait_until(lambda: slate_of(channel, USER).items, 30, lambda: deployment.log("recommendation")[-2000:])
        slate = slate_of(channel, USER)
    with deployment.calling("feedback", SHOP) as channel:
        event = event_pb2.Event(
            event_id="e-1",
            user_id=USER,
            item_id=slate.items[0].item_id,
            event_type=event_pb2.EVENT_TYPE_CLICK,
            recommendation_id=slate.recommendation_id,
        )
        log = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
        answer = log.RecordEvents(feedback_service_pb2.RecordEventsRequest(events=[event]), timeout=CALL_SECONDS)

    assert [status.code for status in answer.statuses] == [0]
    assert {lost.stage for lost in slate.header.degraded} == {"rank", "retriever"}


def test_a_caller_of_another_team_may_not_erase(deployment: Deployment) -> None:
    with deployment.calling("feedback", SHOP) as channel, pytest.raises(grpc.RpcError, match="PERMISSION_DENIED"):
        privacy_service_pb2_grpc.PrivacyServiceStub(channel).EraseUser(
            privacy_service_pb2.EraseUserRequest(user_id=USER), timeout=CALL_SECONDS
        )


def test_a_caller_without_a_certificate_reaches_no_service(deployment: Deployment) -> None:
    for name in SERVICES:
        with (
            grpc.insecure_channel(deployment.address(name)) as channel,
            pytest.raises(grpc.RpcError, match="UNAVAILABLE"),
        ):
            slate_of(channel, USER)


def test_no_log_names_a_user_what_they_searched_or_a_secret(deployment: Deployment, tmp_path: Path) -> None:
    with deployment.calling("recommendation", SHOP) as channel:
        slate_of(channel, USER)
        stub = recommendation_service_pb2_grpc.RecommendationServiceStub(channel)
        request = recommendation_service_pb2.SearchItemsRequest(query=SEARCHED, user_id=USER)
        stub.SearchItems(request, timeout=CALL_SECONDS)
        with pytest.raises(grpc.RpcError):
            stub.Recommend(
                recommendation_service_pb2.RecommendRequest(user_id=USER, page_token=SEARCHED), timeout=CALL_SECONDS
            )

    for name in SERVICES:
        text = deployment.log(name)
        assert '"event": "rpc"' in text, "there is a log to look at"
        for secret in (USER, "secret@", SEARCHED, "private search", PSEUDONYM_KEY, PAGE_SECRET, "PRIVATE KEY"):
            assert secret not in text, f"{name} logged {secret!r}"


def test_no_metric_and_no_status_page_names_a_user_or_a_secret(deployment: Deployment) -> None:
    with deployment.calling("recommendation", SHOP) as channel:
        slate_of(channel, USER)
    with deployment.calling("recommendation", OPERATOR) as channel:
        stub = monitoring_service_pb2_grpc.MonitoringServiceStub(channel)
        told = {"status": str(stub.GetStatus(monitoring_service_pb2.GetStatusRequest(), timeout=CALL_SECONDS))}
    told |= {name: deployment.metrics(name) for name in SERVICES}

    assert all("winnow_rpc_handled_total" in text for name, text in told.items() if name != "status")
    for name, text in told.items():
        for secret in (USER, "secret@", PSEUDONYM_KEY, PAGE_SECRET, "PRIVATE KEY", str(deployment.folder)):
            assert secret not in text, f"{name} tells {secret!r}"
