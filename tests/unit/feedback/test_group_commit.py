"""One commit for all who wait, in their order; who comes while too much waits is held up; failures hit the group."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from services.feedback.group_commit import CommitLimits, GroupCommit, _Room
from shared.kernel.errors import ErrorReason, ServiceError

FULL = ServiceError(ErrorReason.STORAGE_FULL, "full")


class Disk:
    """Collects groups; while `open` is cleared, a commit waits as a slow disk would."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.published: list[int] = []
        self.open = threading.Event()
        self.open.set()
        self.failure: Exception | None = None

    def commit(self, jobs: list[str]) -> int:
        assert self.open.wait(timeout=60)
        if self.failure:
            raise self.failure
        self.groups.append(jobs)
        return sum(map(len, self.groups))


@asynccontextmanager
async def commits(disk: Disk, group: int = 1_000, waiting: int = 1_000) -> AsyncIterator[GroupCommit[str, int]]:
    opened = GroupCommit[str, int](disk.commit, disk.published.append, CommitLimits(group, waiting))
    try:
        yield opened
    finally:
        disk.open.set()
        await opened.close()


async def begun(commit: GroupCommit[str, int], *works: str) -> list[asyncio.Task[int]]:
    """Submit works of weight 1 in order, each as far as it gets by itself."""
    tasks = []
    for work in works:
        tasks.append(asyncio.create_task(commit.submit([work], 1)))
        await asyncio.sleep(0)
    return tasks


async def test_work_that_gathers_while_the_disk_is_busy_is_one_commit() -> None:
    disk = Disk()
    async with commits(disk) as commit:
        disk.open.clear()
        tasks = await begun(commit, *"abcdef")
        disk.open.set()
        await asyncio.gather(*tasks)

    assert [job for group in disk.groups for job in group] == list("abcdef")
    assert len(disk.groups) <= 2


async def test_everybody_is_told_a_position_behind_their_work() -> None:
    disk = Disk()
    async with commits(disk) as commit:
        positions = await asyncio.gather(*await begun(commit, *"abcdef"))

    assert all(position >= row for row, position in enumerate(positions, 1))
    assert positions == sorted(positions)


async def test_a_group_is_closed_when_it_weighs_enough() -> None:
    disk = Disk()
    async with commits(disk, group=2) as commit:
        disk.open.clear()
        tasks = await begun(commit, *"abcdef")
        disk.open.set()
        await asyncio.gather(*tasks)

    assert max(map(len, disk.groups)) <= 2


async def test_work_heavier_than_every_limit_goes_alone() -> None:
    disk = Disk()
    async with commits(disk, group=2, waiting=3) as commit:
        assert await commit.submit(["heavy"], 50) == 1
        assert await commit.submit(["light"], 1) == 2

    assert disk.groups == [["heavy"], ["light"]]


async def test_whoever_comes_while_too_much_waits_is_held_up_in_order() -> None:
    disk = Disk()
    async with commits(disk, group=1, waiting=2) as commit:
        disk.open.clear()
        tasks = await begun(commit, *"abcde")
        handed_over = len(commit._queue) + len(disk.groups)
        disk.open.set()
        await asyncio.gather(*tasks)

    assert handed_over <= 2
    assert [job for group in disk.groups for job in group] == list("abcde")


async def test_a_failure_reaches_everybody_of_the_group_and_nobody_else() -> None:
    disk = Disk()
    async with commits(disk) as commit:
        disk.failure = FULL
        outcomes = await asyncio.gather(*await begun(commit, *"ab"), return_exceptions=True)
        disk.failure = None

        assert outcomes == [FULL, FULL]
        assert await commit.submit(["c"], 1) == 1


async def test_a_fault_of_the_writer_is_an_error_and_not_silence() -> None:
    disk = Disk()
    fault = ZeroDivisionError("a fault")
    with capture_logs() as logged:
        async with commits(disk) as commit:
            disk.failure = fault
            with pytest.raises(ServiceError) as told:
                await commit.submit(["a"], 1)
            disk.failure = None

            assert told.value.reason is ErrorReason.INTERNAL
            assert await commit.submit(["b"], 1) == 1

    assert [line["exc_info"] for line in logged] == [fault]


async def test_readers_are_told_before_the_writer() -> None:
    disk = Disk()
    async with commits(disk) as commit:
        position = await commit.submit(["a"], 1)

        assert disk.published == [position]


async def test_a_caller_who_goes_while_held_up_leaves_its_place_to_others() -> None:
    disk = Disk()
    async with commits(disk, waiting=1) as commit:
        disk.open.clear()
        first, gone, last = await begun(commit, "first", "gone", "last")
        gone.cancel()
        disk.open.set()
        await asyncio.gather(first, last)

    assert disk.groups == [["first"], ["last"]]


async def test_a_caller_who_goes_at_the_moment_of_being_let_in_takes_no_place() -> None:
    room = _Room(1)
    await room.enter(1)
    entering = asyncio.create_task(room.enter(1))
    await asyncio.sleep(0)

    room.leave(1)
    entering.cancel()
    await asyncio.gather(entering, return_exceptions=True)

    assert room.taken == 0


async def test_a_caller_who_goes_while_the_disk_works_harms_nobody() -> None:
    disk = Disk()
    async with commits(disk) as commit:
        disk.open.clear()
        gone, stays = await begun(commit, "gone", "stays")
        gone.cancel()
        disk.open.set()

        assert await stays == 2


async def test_a_function_runs_between_two_groups() -> None:
    disk = Disk()
    async with commits(disk, group=1) as commit:
        disk.open.clear()
        tasks = await begun(commit, *"abc")
        alone = asyncio.create_task(commit.alone(lambda: len(disk.groups)))
        await asyncio.sleep(0)
        disk.open.set()

        assert await alone < 3
        await asyncio.gather(*tasks)


async def test_closing_finishes_what_waits_and_refuses_what_comes() -> None:
    disk = Disk()
    async with commits(disk) as commit:
        disk.open.clear()
        tasks = await begun(commit, *"abc")
        closing = asyncio.create_task(commit.close())
        await asyncio.sleep(0)
        with pytest.raises(ServiceError) as refused:
            await commit.submit(["late"], 1)
        disk.open.set()
        await closing

        assert refused.value.reason is ErrorReason.NOT_READY
        assert sorted(await asyncio.gather(*tasks))[-1] == 3
