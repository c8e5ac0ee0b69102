"""Whatever bytes a caller sends to any method, it gets an answer or a clear refusal, and the next caller is served."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from winnow.v1 import (
    event_pb2,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
    slate_pb2,
)

from services.ranking.ingress import CHECK, RANK
from shared.kernel.errors import STATUS_DETAILS_KEY
from shared.kernel.validation import violations
from tests.e2e.product import wait_until
from tests.integration.attacks.known_requests import by_kind, known_requests
from tests.integration.attacks.whole_product import AUTHORIZED, Whole, whole_product
from tests.integration.attacks.wild_messages import wild_bytes
from tests.unit.ranking.fakes import FakeContext

ROOT = Path(__file__).parents[3]
SERVICES: Final = tuple(path.stem for path in sorted(Path(ROOT, "protos/winnow/v1").glob("*_service.proto")))
METHODS: Final = {
    f"{service.full_name}/{method.name}": method
    for module in SERVICES
    for service in importlib.import_module(f"winnow.v1.{module}_pb2").DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
HOSTED: Final = sorted(name for name in METHODS if not name.startswith(RANK.service))
SOAK_CASES: Final = 20_000
CASES: Final = -(-SOAK_CASES // len(METHODS)) if os.environ.get("WINNOW_SOAK") else 40
TRIES = settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
CALL_SECONDS: Final = 120
STREAM_SECONDS: Final = 0.05
"""Streams that follow the log never end by themselves; what goes wrong in them goes wrong at once."""
OUR_FAULT: Final = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}


def failures() -> dict[str, float]:
    """How often each background task has failed in this process, and the log was lost."""
    (tasks,) = [metric.samples for metric in REGISTRY.collect() if metric.name == "winnow_task_failures"]
    lost = REGISTRY.get_sample_value("winnow_feature_log_lost_total")
    return {each.labels["task"]: each.value for each in tasks if each.name.endswith("_total")} | {"log": lost or 0.0}


@pytest.fixture(scope="module")
def before() -> dict[str, float]:
    """The failures of the tests that ran before these."""
    return failures()


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, before: dict[str, float]) -> Iterator[Whole]:
    """One product for all attacks: what one leaves behind, the next one meets."""
    with whole_product(tmp_path_factory.mktemp("attacked")) as running:
        yield running


@pytest.fixture(scope="module")
def known(product: Whole) -> dict[str, list[Message]]:
    """Requests that the product answers, by the name of their kind: a slate that it served and what goes with it."""
    first = recommend(product, recommendation_service_pb2.RecommendRequest(user_id="ann", page_size=5, explain=True))
    return by_kind(known_requests(first, logged(product, first.recommendation_id)))


@pytest.mark.parametrize("name", HOSTED)
def test_no_bytes_make_a_method_fail_by_its_own_fault(
    product: Whole, known: dict[str, list[Message]], name: str
) -> None:
    method = METHODS[name]

    @TRIES
    @given(wild_bytes(method.input_type, known.get(method.input_type.full_name, [])), st.integers(1, 3))
    def attack(raw: bytes, messages: int) -> None:
        error = outcome(product.channel, method, raw, messages)

        assert error is None or blameless(error), f"{name} answered {error} to {raw!r}"

    attack()
    assert_served(product)


def test_no_bytes_make_a_replica_of_the_ranker_fail_by_its_own_fault(
    product: Whole, known: dict[str, list[Message]]
) -> None:
    kind = METHODS[RANK.full_name].input_type

    @TRIES
    @given(wild_bytes(kind, known[kind.full_name]))
    def attack(raw: bytes) -> None:
        context = FakeContext(AUTHORIZED)

        product.run(product.replica.answer(RANK, raw, context))

        assert context.code not in OUR_FAULT, f"{context.details} to {raw!r}"
        assert context.code is None or one_error_info(context.trailing[STATUS_DETAILS_KEY])

    attack()


@TRIES
@given(raw=st.binary(max_size=200))
def test_no_bytes_make_the_health_of_a_replica_fail(product: Whole, raw: bytes) -> None:
    context = FakeContext()

    product.run(product.replica.answer(CHECK, raw, context))

    assert context.code not in OUR_FAULT, f"{context.details} to {raw!r}"


def test_after_all_that_no_background_task_has_failed_and_the_log_is_followed(
    product: Whole, before: dict[str, float]
) -> None:
    assert_served(product)

    assert failures() == before


def outcome(channel: grpc.Channel, method: MethodDescriptor, raw: bytes, messages: int) -> grpc.RpcError | None:
    """Send the bytes, so many times where the method takes a stream; the error of the answer, if there is one."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    asked = iter([raw] * messages) if method.client_streaming else raw
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    call = getattr(channel, kind)(path)
    try:
        if method.server_streaming:
            for _ in call(asked, timeout=STREAM_SECONDS):
                pass
        else:
            call(asked, timeout=CALL_SECONDS)
    except grpc.RpcError as error:
        return error
    return None


def blameless(error: grpc.RpcError) -> bool:
    """Whether an error says what the caller did, in our own terms; a stream may also end with its deadline."""
    if error.code() in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNIMPLEMENTED}:
        return True
    details = [each.value for each in error.trailing_metadata() if each.key == STATUS_DETAILS_KEY]
    return error.code() not in OUR_FAULT and len(details) == 1 and one_error_info(details[0])


def one_error_info(raw: bytes) -> bool:
    """Whether a status has exactly one ErrorInfo."""
    details = status_pb2.Status.FromString(raw).details
    return sum(each.Is(error_details_pb2.ErrorInfo.DESCRIPTOR) for each in details) == 1


def recommend(
    product: Whole, request: recommendation_service_pb2.RecommendRequest
) -> recommendation_service_pb2.RecommendResponse:
    """A slate."""
    front = recommendation_service_pb2_grpc.RecommendationServiceStub(product.channel)
    return front.Recommend(request, timeout=CALL_SECONDS)


def logged(product: Whole, recommendation_id: str) -> slate_pb2.ServedSlate:
    """A served slate as the log has it, a moment after the answer."""
    stub = feedback_service_pb2_grpc.FeedbackServiceStub(product.channel)
    request = feedback_service_pb2.GetSlateRequest(recommendation_id=recommendation_id)
    found: list[slate_pb2.ServedSlate] = []

    def there() -> bool:
        try:
            found.append(stub.GetSlate(request, timeout=CALL_SECONDS).slate)
        except grpc.RpcError:
            return False
        return True

    wait_until(there, CALL_SECONDS)
    return found[0]


def assert_served(product: Whole) -> None:
    """A new event is in the log, shows in the state of its user, and its user gets a slate that is whole."""
    feedback = feedback_service_pb2_grpc.FeedbackServiceStub(product.channel)
    number = next(_NUMBERS)
    event = event_pb2.Event(
        event_id=f"alive-{number}", user_id=f"alive-{number}", item_id="horror-0", event_type=event_pb2.EVENT_TYPE_CLICK
    )
    recorded = feedback.RecordEvents(feedback_service_pb2.RecordEventsRequest(events=[event]), timeout=CALL_SECONDS)
    slate = recommend(
        product,
        recommendation_service_pb2.RecommendRequest(user_id=event.user_id, min_watermark=recorded.watermark),
    )

    assert [status.code for status in recorded.statuses] == [0]
    assert len(slate.items) == 10
    assert not [lost for lost in slate.header.degraded if lost.reason != "deadline"], "time is not what is tried here"
    assert not violations(slate)
    assert all(abs(item.score) < 1e30 for item in slate.items)


_NUMBERS = iter(range(10**9))
