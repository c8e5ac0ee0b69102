"""The images of `feedback` and `feature` as a cluster runs them: the shipped manifests, a client outside."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from winnow.v1 import (
    feature_service_pb2,
    feature_service_pb2_grpc,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
)

from shared.kernel.probe import healthy
from tests.e2e.product import click, wait_until
from tests.images.containers import Pods, build

SERVICES = ("feedback", "feature")
START_SECONDS, CALL_SECONDS = 120, 10


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    """Both services, built and running."""
    build(SERVICES)
    made = Pods(tmp_path_factory.mktemp("podman"))
    with made.playing(SERVICES):
        for service in SERVICES:
            address = made.address(service, "health")
            wait_until(
                lambda address=address: healthy(address),
                START_SECONDS,
                lambda service=service: made.log(service),
            )
        yield made


def test_an_event_recorded_from_outside_comes_back_as_state(pods: Pods) -> None:
    with grpc.insecure_channel(pods.address("feedback", "grpc")) as channel:
        log = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
        request = feedback_service_pb2.RecordEventsRequest(events=[click("e-1", "anna", "lamp")])
        recorded = log.RecordEvents(request, timeout=CALL_SECONDS)
    with grpc.insecure_channel(pods.address("feature", "grpc")) as channel:
        features = feature_service_pb2_grpc.FeatureServiceStub(channel)
        asked = feature_service_pb2.GetUserStateRequest(user_id="anna", min_watermark=recorded.watermark)
        state = features.GetUserState(asked, timeout=CALL_SECONDS).user_state

    assert [(event.event_id, event.item_id) for event in state.history] == [("e-1", "lamp")]


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_runs_without_rights_on_an_image_that_it_cannot_change(pods: Pods, service: str) -> None:
    told = pods.podman(
        "inspect",
        "--format",
        "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.EffectiveCaps}}",
        pods.container(service),
    )

    assert told == "10001:10001 true []"


@pytest.mark.parametrize("service", SERVICES)
def test_the_health_check_of_the_image_asks_the_service(pods: Pods, service: str) -> None:
    pods.podman("exec", pods.container(service), "python", "-m", "shared.kernel.probe", service)

    with pytest.raises(AssertionError):
        pods.podman("exec", pods.container(service), "python", "-m", "shared.kernel.probe", "ranking")


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_carries_neither_torch_nor_ray(pods: Pods, service: str) -> None:
    find = "import importlib.util as u; print([n for n in ('torch', 'ray', 'annoy', 'pytest') if u.find_spec(n)])"

    assert pods.podman("exec", pods.container(service), "python", "-c", find) == "[]"


@pytest.mark.parametrize("service", SERVICES[::-1])
def test_a_stopped_container_drains_and_ends_with_0(pods: Pods, service: str) -> None:
    pods.podman("stop", "--time", "40", pods.container(service))

    assert pods.podman("inspect", "--format", "{{.State.ExitCode}}", pods.container(service)) == "0"
    assert "server.stopped" in pods.log(service), "it was not killed"
