"""The circuit breaker, on a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import pytest
from grpc import StatusCode

from shared.kernel.breaker import BreakerState, CircuitBreaker
from shared.kernel.errors import ErrorReason, NoTimeLeft, ServiceError


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now_ms = 1_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> HandClock:
    """A clock at rest."""
    return HandClock()


@pytest.fixture
def breaker(clock: HandClock) -> CircuitBreaker:
    """A closed breaker."""
    return CircuitBreaker("ranking", clock=clock)


def rpc_error(code: StatusCode) -> grpc.aio.AioRpcError:
    """A failed call."""
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())


def call(breaker: CircuitBreaker, *outcomes: Exception | StatusCode) -> None:
    """Makes one call for each outcome."""
    for outcome in outcomes:
        error = None if outcome is StatusCode.OK else rpc_error(outcome) if isinstance(outcome, StatusCode) else outcome
        try:
            with breaker.guard():
                if error:
                    raise error
        except Exception as raised:
            if raised is not error:
                raise


def test_three_failures_in_a_row_open_it(breaker: CircuitBreaker) -> None:
    call(breaker, StatusCode.UNAVAILABLE, StatusCode.INTERNAL)
    assert state(breaker) is BreakerState.CLOSED

    call(breaker, StatusCode.UNAVAILABLE)

    assert state(breaker) is BreakerState.OPEN


@pytest.mark.parametrize("timeout", [StatusCode.DEADLINE_EXCEEDED, TimeoutError()])
def test_two_time_outs_in_a_row_open_it(breaker: CircuitBreaker, timeout: StatusCode | TimeoutError) -> None:
    call(breaker, timeout)
    assert state(breaker) is BreakerState.CLOSED

    call(breaker, timeout)

    assert state(breaker) is BreakerState.OPEN


def test_a_success_between_failures_keeps_it_closed(breaker: CircuitBreaker) -> None:
    failures = [StatusCode.UNAVAILABLE, StatusCode.UNAVAILABLE]

    call(breaker, *failures, StatusCode.OK, *failures, StatusCode.OK, StatusCode.DEADLINE_EXCEEDED)

    assert state(breaker) is BreakerState.CLOSED


@pytest.mark.parametrize("code", [StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND, StatusCode.RESOURCE_EXHAUSTED])
def test_an_answer_that_blames_the_caller_shows_that_the_dependency_lives(
    breaker: CircuitBreaker, code: StatusCode
) -> None:
    call(breaker, StatusCode.UNAVAILABLE, StatusCode.UNAVAILABLE, code, StatusCode.UNAVAILABLE, StatusCode.UNAVAILABLE)

    assert state(breaker) is BreakerState.CLOSED


def test_while_open_calls_are_refused_with_the_name_of_the_dependency(breaker: CircuitBreaker) -> None:
    call(breaker, *[StatusCode.UNAVAILABLE] * 3)

    with pytest.raises(ServiceError, match="ranking does not answer") as raised:
        call(breaker, StatusCode.OK)

    assert raised.value.reason is ErrorReason.DEPENDENCY_UNAVAILABLE
    assert raised.value.metadata["dependency"] == "ranking"


def test_after_a_quarter_second_one_trial_closes_it_again(breaker: CircuitBreaker, clock: HandClock) -> None:
    call(breaker, *[StatusCode.UNAVAILABLE] * 3)
    clock.now_ms += 249
    with pytest.raises(ServiceError):
        call(breaker, StatusCode.OK)

    clock.now_ms += 1
    call(breaker, StatusCode.OK)

    assert state(breaker) is BreakerState.CLOSED


def test_only_one_trial_is_on_its_way_at_a_time(breaker: CircuitBreaker, clock: HandClock) -> None:
    call(breaker, *[StatusCode.UNAVAILABLE] * 3)
    clock.now_ms += 250

    with breaker.guard():
        assert state(breaker) is BreakerState.HALF_OPEN
        with pytest.raises(ServiceError):
            call(breaker, StatusCode.OK)

    assert state(breaker) is BreakerState.CLOSED


def state(breaker: CircuitBreaker) -> BreakerState:
    """Its state, which the type checker must not remember."""
    return breaker.state


def fails() -> None:
    """A trial that fails."""
    raise rpc_error(StatusCode.UNAVAILABLE)


def is_cancelled() -> None:
    """A trial whose caller went away."""
    raise asyncio.CancelledError


@pytest.mark.parametrize("trial", [fails, is_cancelled])
def test_a_trial_that_does_not_succeed_opens_it_for_another_quarter_second(
    breaker: CircuitBreaker, clock: HandClock, trial: Callable[[], None]
) -> None:
    call(breaker, *[StatusCode.UNAVAILABLE] * 3)
    clock.now_ms += 250
    with pytest.raises((grpc.RpcError, asyncio.CancelledError)), breaker.guard():
        trial()

    assert state(breaker) is BreakerState.OPEN
    clock.now_ms += 249
    with pytest.raises(ServiceError):
        call(breaker, StatusCode.OK)
    clock.now_ms += 1
    call(breaker, StatusCode.OK)
    assert state(breaker) is BreakerState.CLOSED


def test_a_late_failure_of_an_earlier_call_does_not_put_the_trial_off(
    breaker: CircuitBreaker, clock: HandClock
) -> None:
    def early_call() -> None:
        with breaker.guard():
            call(breaker, *[StatusCode.UNAVAILABLE] * 3)
            clock.now_ms += 200
            fails()

    with pytest.raises(grpc.RpcError):
        early_call()

    clock.now_ms += 50
    call(breaker, StatusCode.OK)

    assert state(breaker) is BreakerState.CLOSED


@pytest.mark.parametrize("fault", [ValueError("ours"), NoTimeLeft("winnow.v1.RankingService/Rank")])
def test_what_is_the_callers_own_fault_says_nothing_about_the_dependency(
    breaker: CircuitBreaker, fault: Exception
) -> None:
    call(breaker, *[fault] * 5)

    assert state(breaker) is BreakerState.CLOSED


def test_a_call_for_which_no_time_was_left_says_nothing_in_a_clients_words_either(breaker: CircuitBreaker) -> None:
    told = ServiceError(ErrorReason.DEADLINE_EXCEEDED, "no time left")
    told.__cause__ = NoTimeLeft("winnow.v1.RankingService/Rank")

    call(breaker, *[told] * 5)

    assert state(breaker) is BreakerState.CLOSED
