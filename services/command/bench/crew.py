"""Runs the generator's processes beside each other and adds up what they saw."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, wait

import numpy as np

from services.command.bench.caller import Answered, Load, call_all
from services.command.bench.tally import Tally

START_SECONDS = 2.0
"""Processes need so long to be there before the first request is due."""


def run(load: Load, told: Callable[[float], None]) -> Answered:
    """Send the whole load.

    Args:
        load: what to send.
        told: called every half second with the share of the time that is over.
    """
    begin_s = time.monotonic() + START_SECONDS
    whole_s = sum(phase.seconds for phase in load.phases)
    spawning = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    with ProcessPoolExecutor(load.processes, spawning) as pool:
        parts = [pool.submit(call_all, load, number, begin_s) for number in range(load.processes)]
        while wait(parts, timeout=0.5).not_done:
            told(min(1.0, max(0.0, (time.monotonic() - begin_s) / whole_s)))
    return _together(parts, len(load.phases))


def _together(parts: list[Future[Answered]], phases: int) -> Answered:
    tallies = [Tally() for _ in range(phases)]
    results = [part.result() for part in parts]
    for result in results:
        for whole, part in zip(tallies, result.tallies, strict=True):
            whole.add(part)
    due = np.concatenate([result.due_s for result in results])
    latency = np.concatenate([result.latency_ms for result in results])
    return Answered(tallies, due, latency)
