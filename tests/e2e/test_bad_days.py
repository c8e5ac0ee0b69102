"""What is promised when processes die: a slate all the same, nothing acknowledged lost, nothing left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.e2e.product import (
    START_SECONDS,
    STOP_SECONDS,
    Product,
    Running,
    click,
    item_ids,
    processes_of,
    wait_until,
)

KILLS = 20 if os.environ.get("WINNOW_SOAK") else 2


def replicas(data_dir: Path) -> list[int]:
    return [
        pid
        for pid, command in processes_of(data_dir).items()
        if "SERVE_REPLICA" in command or "ServeReplica" in command
    ]


def test_without_the_ranker_the_slate_comes_marked_and_then_the_ranker_is_back(product: Product) -> None:
    with product.serving() as running:
        for pid in replicas(product.data_dir):
            os.kill(pid, signal.SIGKILL)

        slate = running.recommend("42")

        assert len(slate.items) == 10
        assert "rank" in {lost.stage for lost in slate.header.degraded}
        wait_until(lambda: not running.recommend("42").header.degraded, START_SECONDS)


def test_a_killed_command_comes_back_with_all_that_was_acknowledged(product: Product) -> None:
    for number in range(KILLS):
        process = product.start()
        running = Running(product, process)
        running.wait_ready()
        item = item_ids(running.recommend("77"))[0]
        running.record(click(f"kill-{number}", "77", item))
        process.kill()
        process.wait(STOP_SECONDS)

    with product.serving() as running:
        events = [event.event_id for event in running.user_state("77").history]

    assert [f"kill-{number}" for number in range(KILLS)] == [event for event in events if event.startswith("kill-")]


def test_a_stopped_command_ends_with_0_and_leaves_no_process(product: Product) -> None:
    with product.serving() as running:
        process = running.process
        assert processes_of(product.data_dir)
        process.send_signal(signal.SIGTERM)
        code = process.wait(STOP_SECONDS)

    assert code == 0
    wait_until(lambda: not processes_of(product.data_dir), 10, lambda: str(processes_of(product.data_dir)))
