"""Background tasks: never silently dead."""

from __future__ import annotations

import asyncio

from shared.kernel.background import Backoff, Supervised
from shared.kernel.context import RequestContext, enter, remaining_ms, request_id
from shared.kernel.readiness import Readiness
from shared.kernel.telemetry import TASK_FAILURES
from tests.integration.kernel_servers import captured_logs

AT_ONCE = Backoff(first_ms=0, limit_ms=0, healthy_after_ms=0)
NEVER_WELL = Backoff(first_ms=0, limit_ms=0, healthy_after_ms=3_600_000)


def ready() -> Readiness:
    """The readiness of a service that works."""
    readiness = Readiness()
    readiness.set(True)
    return readiness


async def test_a_task_that_fails_is_logged_counted_and_begun_again() -> None:
    runs = 0
    done = asyncio.Event()
    before = TASK_FAILURES.labels("tail")._value.get()

    async def tail() -> None:
        nonlocal runs
        runs += 1
        if runs < 3:
            raise OSError("disk gone")
        done.set()

    with captured_logs() as lines:
        async with Supervised(backoff=AT_ONCE) as tasks:
            tasks.start("tail", tail)
            await done.wait()

    failures = [line for line in lines if line["event"] == "task.failed"]
    assert [line["task"] for line in failures] == ["tail", "tail"]
    assert "OSError: disk gone" in failures[0]["exception"]
    assert TASK_FAILURES.labels("tail")._value.get() == before + 2


async def test_a_failing_task_holds_readiness_back() -> None:
    readiness = ready()

    async def tail() -> None:
        raise OSError("disk gone")

    async with Supervised(readiness, NEVER_WELL) as tasks:
        tasks.start("tail", tail)
        while readiness.ready:
            await readiness.next_change().wait()

        assert readiness.reason == "tail failed: OSError"
        assert tasks.failures == {"tail": "tail failed: OSError"}


async def test_a_task_that_runs_well_again_gives_readiness_back() -> None:
    readiness = ready()
    failed = False

    async def tail() -> None:
        nonlocal failed
        if not failed:
            failed = True
            raise OSError("disk gone")
        await asyncio.Event().wait()

    async with Supervised(readiness, AT_ONCE) as tasks:
        tasks.start("tail", tail)
        while readiness.ready:
            await readiness.next_change().wait()
        await readiness.wait_ready()

        assert tasks.failures == {}


async def test_a_task_that_ends_by_itself_is_not_begun_again() -> None:
    runs = 0

    async def once() -> None:
        nonlocal runs
        runs += 1

    async with Supervised(backoff=AT_ONCE) as tasks:
        tasks.start("once", once)
        await tasks.ended("once")

    assert runs == 1


async def test_leaving_cancels_what_still_runs() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def forever() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with Supervised() as tasks:
        tasks.start("forever", forever)
        await started.wait()

    assert cancelled.is_set()


async def test_a_task_that_a_request_begins_outlives_the_requests_deadline() -> None:
    seen = []

    async def later() -> None:
        seen.append((request_id(), remaining_ms()))

    async def request(tasks: Supervised) -> None:
        enter(RequestContext("r-1", deadline=0))
        tasks.start("later", later)

    async with Supervised() as tasks:
        await asyncio.create_task(request(tasks))
        await tasks.ended("later")

    assert seen == [("", None)]


def test_the_wait_doubles_up_to_its_limit() -> None:
    backoff = Backoff(first_ms=100, limit_ms=500)

    assert [backoff.wait_ms(failures) for failures in range(5)] == [100, 200, 400, 500, 500]
