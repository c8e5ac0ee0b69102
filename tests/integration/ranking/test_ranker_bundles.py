"""Bundles come and go under load; what is broken is refused, and readiness never claims what is not there."""

from __future__ import annotations

import asyncio
import shutil
import signal

import grpc
from winnow.v1.ranking_service_pb2_grpc import RankingServiceStub

from tests.integration.ranking.ranker import NOT_SERVING, SERVING, Ranker, rank_request, refusal, wait_until
from tests.integration.ranking.toy import ITEM_IDS, TOY_FILE

CALLERS = 8
PROBABILITIES = (0.125, 0.25, 0.375, 0.5, 0.625)
"""Numbers that float32 holds exactly."""


def served(ranker: Ranker) -> str:
    return ranker.rank(rank_request(ITEM_IDS[0])).header.model_version


async def test_bundles_are_swapped_under_load_without_a_failed_request(ray_ranker: Ranker) -> None:
    answered: list[tuple[str, float]] = []
    done = asyncio.Event()

    async def call_on_and_on(channel: grpc.aio.Channel) -> None:
        rank = RankingServiceStub(channel).Rank
        while not done.is_set():
            response = await rank(rank_request(*ITEM_IDS[:50]), metadata=ray_ranker.credentials(), timeout=30)
            answered.append((response.header.model_version, response.probabilities[0]))

    async def swap(probability: float) -> tuple[str, float]:
        version = await asyncio.to_thread(ray_ranker.publish, probability)
        await asyncio.to_thread(wait_until, lambda: answered[-1:] == [(version, probability)], "the swap")
        return version, probability

    async with grpc.aio.insecure_channel(ray_ranker.address) as channel, asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(call_on_and_on(channel))
        published = [await swap(probability) for probability in PROBABILITIES]
        done.set()

    assert len(set(answered)) <= len(published) + 1  # the one before the first swap
    assert set(answered) >= set(published)


def test_a_damaged_bundle_is_refused_with_its_reason_and_the_old_one_keeps_serving(ray_ranker: Ranker) -> None:
    before = served(ray_ranker)
    damaged = publish_damaged(ray_ranker)

    wait_until(lambda: damaged in ray_ranker.log, "the refusal")

    assert served(ray_ranker) == before
    refusal = next(line for line in ray_ranker.log.splitlines() if "bundle.refused" in line and damaged in line)
    assert f"{TOY_FILE}: altered" in refusal
    repaired = ray_ranker.publish(0.75)
    wait_until(lambda: served(ray_ranker) == repaired, "the next bundle")


def test_without_a_bundle_it_says_so_and_serves_as_soon_as_one_is_published(ray_ranker: Ranker) -> None:
    ray_ranker.signal(signal.SIGTERM)
    shutil.rmtree(ray_ranker.data_dir / "registry")
    ray_ranker.start()
    ray_ranker.wait_for(NOT_SERVING)

    code, error = refusal(lambda: ray_ranker.rank(rank_request(ITEM_IDS[0])))

    assert (code, error.reason.name) == (grpc.StatusCode.UNAVAILABLE, "NO_BUNDLE")
    ray_ranker.publish(0.25)
    ray_ranker.wait_for(SERVING)
    assert list(ray_ranker.rank(rank_request(ITEM_IDS[0])).probabilities) == [0.25]


def publish_damaged(ranker: Ranker) -> str:
    """Publish a bundle of which one character changed on the way; gives its version."""
    version = ranker.store(0.5)
    file = ranker.data_dir / "registry" / "bundles" / version / TOY_FILE
    file.write_text("0.6", encoding="utf-8")
    ranker.point_to(version)
    return version
