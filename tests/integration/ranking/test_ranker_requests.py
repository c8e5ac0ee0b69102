"""What the ranker's ingress answers to good and bad requests."""

from __future__ import annotations

import math
import socket
import time
import urllib.request
from collections.abc import Callable
from typing import TypeAlias

import grpc
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub
from winnow.v1.ranking_service_pb2 import RankRequest, RankResponse
from winnow.v1.ranking_service_pb2_grpc import RankingServiceStub

from tests.integration.ranking.ranker import Ranker, rank_request, refusal
from tests.integration.ranking.toy import ITEM_IDS

RANK = "/winnow.v1.RankingService/Rank"
RawMethod: TypeAlias = "grpc.UnaryUnaryMultiCallable[bytes, bytes]"


def test_it_scores_each_candidate_and_says_which_bundle_did(ray_ranker: Ranker) -> None:
    response = ray_ranker.rank(rank_request(ITEM_IDS[0], "unheard-of", ITEM_IDS[1]))

    known, unknown, other = response.probabilities
    assert known == other > unknown == 0
    assert response.header.model_version.startswith("2026")
    assert [timing.stage for timing in response.header.stage_timings] == ["queue", "forward"]


def test_the_callers_request_id_comes_back(ray_ranker: Ranker) -> None:
    with ray_ranker.channel() as channel:
        metadata = (*ray_ranker.credentials(), ("x-request-id", "order-7"))
        response, call = RankingServiceStub(channel).Rank.with_call(rank_request(ITEM_IDS[0]), metadata=metadata)

    assert response.header.request_id == "order-7"
    assert dict(call.trailing_metadata())["x-request-id"] == "order-7"


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer wrong"),), (("authorization", "Bearer "),)])
def test_without_the_right_token_nothing_is_answered(ray_ranker: Ranker, metadata: tuple[tuple[str, str], ...]) -> None:
    with ray_ranker.channel() as channel:
        rank = RankingServiceStub(channel).Rank
        code, error = refusal(lambda: rank(rank_request(ITEM_IDS[0]), metadata=metadata))

    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert error.reason.name == "UNAUTHENTICATED"


def test_health_needs_no_token_and_knows_its_one_service(ray_ranker: Ranker) -> None:
    with ray_ranker.channel() as channel:
        check = HealthStub(channel).Check
        answer = check(HealthCheckRequest(service="winnow.v1.RankingService"))
        alive = check(HealthCheckRequest(service="live"))
        code, _ = refusal(lambda: check(HealthCheckRequest(service="somebody.Else")))

    assert answer.status == alive.status == answer.SERVING
    assert code is grpc.StatusCode.NOT_FOUND


def test_a_method_that_does_not_exist_is_unimplemented(ray_ranker: Ranker) -> None:
    with ray_ranker.channel() as channel, pytest.raises(grpc.RpcError) as raised:
        raw(channel, "/winnow.v1.RankingService/Nothing")(b"", metadata=ray_ranker.credentials())

    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_request_above_the_limit_is_refused_with_both_sizes(ray_ranker: Ranker) -> None:
    with ray_ranker.channel() as channel:
        rank = raw(channel)
        code, error = refusal(lambda: rank(b"\0" * 4_200_000, metadata=ray_ranker.credentials()))

    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error.reason.name == "MESSAGE_TOO_LARGE"
    assert error.metadata == {"bytes": "4200000", "limitBytes": "4194304"}


def test_a_request_far_above_the_limit_does_not_even_reach_the_ranker(ray_ranker: Ranker) -> None:
    with ray_ranker.channel() as channel, pytest.raises(grpc.RpcError) as raised:
        raw(channel)(b"\0" * 10_000_000, metadata=ray_ranker.credentials())

    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_bytes_that_are_no_request_are_refused(ray_ranker: Ranker) -> None:
    with ray_ranker.channel() as channel:
        rank = raw(channel)
        code, error = refusal(lambda: rank(b"\xff\xff", metadata=ray_ranker.credentials()))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason.name == "INVALID_FIELD"


def test_all_that_is_wrong_with_a_request_is_told_at_once(ray_ranker: Ranker) -> None:
    request = rank_request(ITEM_IDS[0], ITEM_IDS[0])
    request.candidates.popularity.extend([1.0, math.nan])
    request.candidates.ages_days.extend([math.inf, 1.0])

    code, error = refusal(lambda: ray_ranker.rank(request))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert {violation.field for violation in error.violations} == {
        "candidates.item_ids",
        "candidates.popularity[1]",
        "candidates.ages_days[0]",
    }


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (rank_request(), "candidates"),
        (RankRequest(), "candidates"),
        (rank_request("x" * 129), "candidates.item_ids[0]"),
        (rank_request(ITEM_IDS[0], budget_ms=-1), "budget_ms"),
    ],
)
def test_a_broken_rule_names_its_field(ray_ranker: Ranker, request_: RankRequest, field: str) -> None:
    code, error = refusal(lambda: ray_ranker.rank(request_))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert any(violation.field.startswith(field) for violation in error.violations)


def test_columns_of_different_lengths_are_refused(ray_ranker: Ranker) -> None:
    request = rank_request(ITEM_IDS[0], ITEM_IDS[1])
    request.candidates.trend.append(1.0)

    code, error = refusal(lambda: ray_ranker.rank(request))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "candidates.trend has 1 values for 2 item_ids" in error.message


def test_a_history_of_things_from_the_future_is_no_error(ray_ranker: Ranker) -> None:
    request = rank_request(ITEM_IDS[0])
    request.history.item_ids.append("never-seen")
    request.history.event_types.append(999)
    request.history.values.append(math.nan)
    request.history.times_ms.append(32_503_680_000_000)

    response: RankResponse = ray_ranker.rank(request)

    assert len(response.probabilities) == 1


def test_its_port_is_closed_to_other_machines(ray_ranker: Ranker) -> None:
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)} - {"127.0.0.1", "::1", "127.0.1.1"}

    reachable = [host for host in others if _listens(str(host), ray_ranker.port)]

    assert _listens("127.0.0.1", ray_ranker.port)
    assert reachable == []


def test_its_metrics_count_calls_by_code(ray_ranker: Ranker) -> None:
    ray_ranker.rank(rank_request(ITEM_IDS[0]))

    with urllib.request.urlopen(f"http://127.0.0.1:{ray_ranker.metrics_port}/metrics") as page:
        text = page.read().decode()

    assert 'winnow_rpc_handled_total{code="OK",method="winnow.v1.RankingService/Rank"}' in text
    assert "winnow_ranker_forward_seconds_count" in text


def test_each_call_leaves_one_line_in_the_log_of_the_process_that_started_ray(ray_ranker: Ranker) -> None:
    with ray_ranker.channel() as channel:
        for request_id in ("first", "later"):
            metadata = (*ray_ranker.credentials(), ("x-request-id", request_id))
            RankingServiceStub(channel).Rank(rank_request(ITEM_IDS[0]), metadata=metadata)
    wait_until(lambda: bool(lines_of(ray_ranker, "later")))  # lines keep their order: all of the first are there now

    lines = lines_of(ray_ranker, "first")

    assert len(lines) == 1
    assert '"code": "OK"' in lines[0]


def lines_of(ranker: Ranker, request_id: str) -> list[str]:
    """The lines about one request."""
    return [line for line in ranker.log.splitlines() if f'"request_id": "{request_id}"' in line]


def wait_until(condition: Callable[[], bool]) -> None:
    """Ask again until it is true, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "not within 10 s"
        time.sleep(0.02)


def raw(channel: grpc.Channel, method: str = RANK) -> RawMethod:
    """A method that takes bytes as they are."""
    return channel.unary_unary(method)


def _listens(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return probe.connect_ex((host, port)) == 0
