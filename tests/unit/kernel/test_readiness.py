"""Readiness: who decides, and who is told."""

from __future__ import annotations

import asyncio

from shared.kernel.readiness import Readiness


def test_a_new_service_is_starting() -> None:
    readiness = Readiness()

    assert (readiness.ready, readiness.reason) == (False, "starting")


def test_its_owner_says_when_it_is_ready_and_why_not() -> None:
    readiness = Readiness()

    readiness.set(True)
    assert (readiness.ready, readiness.reason) == (True, "")

    readiness.set(False, "replaying the log")
    assert (readiness.ready, readiness.reason) == (False, "replaying the log")


def test_a_part_that_fails_holds_it_back_until_it_is_well_again() -> None:
    readiness = Readiness()
    readiness.set(True)

    readiness.hold("tail", "tail failed: OSError")
    assert (readiness.ready, readiness.reason) == (False, "tail failed: OSError")

    readiness.release("tail")
    assert readiness.ready


def test_all_reasons_are_told_together() -> None:
    readiness = Readiness()
    readiness.hold("tail", "tail failed")
    readiness.hold("poll", "poll failed")

    assert readiness.reason == "starting; tail failed; poll failed"


async def test_everyone_who_waits_is_told() -> None:
    readiness = Readiness()
    waiting = [asyncio.create_task(readiness.wait_ready()) for _ in range(3)]
    readiness.hold("tail", "tail failed")
    readiness.set(True)
    await asyncio.sleep(0)
    assert not any(each.done() for each in waiting)

    readiness.release("tail")

    await asyncio.gather(*waiting)


async def test_a_change_between_looking_and_waiting_is_not_missed() -> None:
    readiness = Readiness()
    changed = readiness.next_change()

    readiness.set(True)

    await changed.wait()
    assert not readiness.next_change().is_set()
