"""The index is measured on real requests: rarely, beside the event loop, and rightly."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from prometheus_client import REGISTRY

from services.candidate_generation.recall_watch import RecallWatch, Search
from shared.domain.vocabulary import Vocabulary
from shared.model.index import AnnoyItemIndex, Found
from shared.model.live_index import LiveIndex
from tests.unit.model.vectors import unit_vectors

ITEMS, D, K = 400, 8, 20
VECTORS = unit_vectors(1, ITEMS, D)
INDEX = LiveIndex(AnnoyItemIndex.build(VECTORS, 4, seed=1), Vocabulary(f"i{row}" for row in range(ITEMS)), 4_000)
EVERYTHING = np.ones(ITEMS, np.bool_)


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as opened:
        yield opened


def told() -> tuple[float, float]:
    """How many answers were measured so far, and the sum of their recalls."""
    values = [
        REGISTRY.get_sample_value(f"winnow_candidate_generation_index_recall_{name}") for name in ("count", "sum")
    ]
    return values[0] or 0.0, values[1] or 0.0


def search(found: Found | None = None, eligible: np.ndarray = EVERYTHING) -> Search:
    queries = unit_vectors(5, 1, D)
    return Search(INDEX, queries, K, eligible, found or INDEX.search(queries, K, eligible))


async def settled(thread: ThreadPoolExecutor) -> None:
    """Until what was begun in the thread is done and told."""
    await asyncio.get_running_loop().run_in_executor(thread, lambda: None)
    await asyncio.sleep(0)


async def test_the_share_of_the_nearest_items_that_were_found_is_told(thread: ThreadPoolExecutor) -> None:
    whole = INDEX.search(unit_vectors(5, 1, D), K, EVERYTHING, exact=True)
    half = Found(np.where(np.arange(K) < K // 2, whole.rows, -1), whole.scores)
    before = told()

    RecallWatch(thread, 10.0).consider(search(half))
    await settled(thread)

    assert told() == (before[0] + 1, pytest.approx(before[1] + 0.5))


async def test_requests_are_measured_no_more_often_than_was_said(thread: ThreadPoolExecutor) -> None:
    now_s, before = [0.0], told()[0]
    watch, counts = RecallWatch(thread, 10.0, lambda: now_s[0]), []
    for moment in (0.0, 1.0, 9.9, 10.0, 15.0, 30.0):
        now_s[0] = moment
        watch.consider(search())
        await settled(thread)
        counts.append(told()[0] - before)

    assert counts == [1, 1, 1, 2, 2, 3]


async def test_while_one_is_measured_no_other_is_begun_and_nobody_waits(thread: ThreadPoolExecutor) -> None:
    let_go, before = threading.Event(), told()[0]
    now_s = [0.0]
    watch = RecallWatch(thread, 1.0, lambda: now_s[0])
    thread.submit(let_go.wait)
    for _ in range(5):
        now_s[0] += 2
        watch.consider(search())
    held = told()[0] - before
    let_go.set()
    await settled(thread)

    assert (held, told()[0] - before) == (0, 1)


@pytest.mark.parametrize("kind", ["few items are eligible", "measuring is off"])
async def test_an_exact_answer_and_a_switched_off_watch_measure_nothing(kind: str, thread: ThreadPoolExecutor) -> None:
    before = told()[0]
    few = np.arange(ITEMS) < 30
    watch = RecallWatch(thread, 10.0 if kind == "few items are eligible" else 0.0)

    watch.consider(search(eligible=few) if kind == "few items are eligible" else search())
    await settled(thread)

    assert told()[0] == before
