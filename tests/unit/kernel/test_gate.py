"""Who is let through, and how often."""

from __future__ import annotations

from contextvars import copy_context

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.kernel import gate as gate_module
from shared.kernel.context import RequestContext, enter
from shared.kernel.errors import ServiceError
from shared.kernel.gate import Gate, TokenBuckets
from shared.kernel.policy import Caller, Client, Policy, Rate

ASK = "a.v1.Front/Ask"
CHECK = "grpc.health.v1.Health/Check"
SHOP = Caller(("shop.example",), "ipv4:10.0.0.1")
POLICY = Policy(
    {"shop.example": Client("shop", frozenset([ASK]), Rate(1, 2)), "job.example": Client("job", frozenset())}
)


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def refusal(gate: Gate, method: str, caller: Caller) -> ServiceError:
    """How the gate refuses a call."""
    with pytest.raises(ServiceError) as raised:
        gate.admit(method, caller)
    return raised.value


def test_without_a_policy_everybody_may_call_everything() -> None:
    assert Gate().admit(ASK, Caller(address="ipv4:127.0.0.1")) == "ipv4:127.0.0.1"
    assert Gate().admit(ASK, SHOP) == "shop.example"


def test_with_a_policy_only_what_it_names_may_be_called() -> None:
    gate = Gate(POLICY)

    assert gate.admit(ASK, SHOP) == "shop"
    forbidden = refusal(gate, "a.v1.Front/Tell", SHOP)
    assert (forbidden.reason.name, forbidden.metadata) == (
        "FORBIDDEN",
        {"method": "a.v1.Front/Tell", "caller": "shop"},
    )
    assert refusal(gate, ASK, Caller(("stranger.example",))).reason.name == "FORBIDDEN"
    assert refusal(gate, ASK, Caller()).reason.name == "UNAUTHENTICATED"


def test_an_empty_policy_lets_nobody_in() -> None:
    assert refusal(Gate(Policy()), ASK, SHOP).reason.name == "FORBIDDEN"


def test_health_is_open_to_all_and_counts_for_nobody() -> None:
    gate = Gate(POLICY, Rate(1, 1))

    admitted = [gate.admit(CHECK, Caller(address="ipv4:10.0.0.9:1")) for _ in range(5)]

    assert admitted == ["ipv4:10.0.0.9:1"] * 5


def test_who_calls_too_often_is_told_when_to_come_back() -> None:
    clock = Clock()
    gate = Gate(POLICY, clock=clock)
    gate.admit(ASK, SHOP)
    gate.admit(ASK, SHOP)
    clock.now = 0.25

    refused = refusal(gate, ASK, SHOP)

    assert (refused.reason.name, refused.retry_after_ms) == ("OVERLOADED", 750)
    assert refused.metadata == {"limit": "1", "caller": "shop"}
    clock.now = 0.25 + 0.75
    assert gate.admit(ASK, SHOP) == "shop"


def test_a_client_without_a_rate_of_its_own_has_the_servers() -> None:
    gate = Gate(None, Rate(1, 1), Clock())
    gate.admit(ASK, Caller(address="ipv4:10.0.0.1"))

    gate.admit(ASK, Caller(address="ipv4:10.0.0.2"))

    assert refusal(gate, ASK, Caller(address="ipv4:10.0.0.1")).reason.name == "OVERLOADED"


def test_the_callers_name_stands_in_the_log() -> None:
    request = RequestContext("r-1")

    def admit() -> None:
        enter(request)
        Gate(POLICY).admit(ASK, SHOP)

    copy_context().run(admit)

    assert request.fields == {"client": "shop"}


@given(steps=st.lists(st.floats(0, 3), max_size=60), rate=st.floats(0.1, 50), burst=st.floats(1, 20))
def test_no_caller_ever_gets_more_than_its_rate_and_burst(steps: list[float], rate: float, burst: float) -> None:
    clock = Clock()
    buckets = TokenBuckets(clock)
    taken = []
    for step in steps:
        clock.now += step
        if not buckets.take("a", Rate(rate, burst)):
            taken.append(clock.now)

    for i, first in enumerate(taken):
        for j in range(i, len(taken)):
            assert j - i + 1 <= burst + (taken[j] - first) * rate + 1e-6


@given(wait=st.floats(0.001, 10), rate=st.floats(0.1, 50))
def test_after_the_wait_that_was_told_there_is_a_token(wait: float, rate: float) -> None:
    clock = Clock()
    buckets = TokenBuckets(clock)
    buckets.take("a", Rate(rate, 1))
    clock.now += min(wait, 0.5 / rate)
    told = buckets.take("a", Rate(rate, 1))

    clock.now += told + 1e-9

    assert told > 0
    assert buckets.take("a", Rate(rate, 1)) == 0


def test_callers_without_number_take_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_module, "REMEMBERED_CALLERS", 3)
    buckets = TokenBuckets(Clock())
    for caller in "abcd":
        buckets.take(caller, Rate(1, 1))

    assert [bool(buckets.take(caller, Rate(1, 1))) for caller in "dcb"] == [True, True, True]
    assert buckets.take("a", Rate(1, 1)) == 0
