"""The page about the running system."""

from __future__ import annotations

from dataclasses import replace

from services.recommendation.status import ServiceState, SystemStatus
from shared.domain.bundles import TrainedBundle
from shared.domain.log_replay import LogReplay
from shared.domain.user_state import ProjectionStatus
from shared.kernel.errors import ErrorReason, ServiceError
from tests.fakes_services import FakeFeatures, down
from tests.unit.recommendation.front import NOW_MS, World, ask, opened


def states(status: SystemStatus) -> dict[str, ServiceState]:
    """State by service."""
    return {service.name: service.state for service in status.services}


async def test_a_healthy_system_serves_everywhere_and_says_with_what() -> None:
    async with opened(World()) as app:
        status = await app.recommender.status()

    assert set(states(status).values()) == {ServiceState.SERVING}
    assert list(states(status)) == ["recommendation", "candidate_generation", "feature", "ranking", "feedback"]
    assert (status.model_version, status.index_version) == ("test-bundle", "test/annoy")
    assert status.projection is not None
    assert (status.projection.users, status.projection.items) == (1, 60)
    assert status.started_ms == NOW_MS


async def test_a_service_that_does_not_answer_is_listed_as_unreachable() -> None:
    world = World()
    world.ranking.error = down("ranking")
    world.features.error = down("feature")

    async with opened(world) as app:
        status = await app.recommender.status()

    assert states(status)["ranking"] is ServiceState.UNREACHABLE
    assert states(status)["feature"] is ServiceState.UNREACHABLE
    assert states(status)["candidate_generation"] is ServiceState.SERVING
    assert (status.model_version, status.projection) == ("", None)


async def test_a_service_that_cannot_do_its_work_yet_is_not_serving() -> None:
    world = World()
    world.ranking.error = ServiceError(ErrorReason.NO_BUNDLE, "no bundle yet")

    async with opened(world) as app:
        status = await app.recommender.status()

    assert states(status)["ranking"] is ServiceState.NOT_SERVING


async def test_a_projection_that_is_behind_is_not_serving() -> None:
    world = World()
    world.features = Behind(states=world.features.states)

    async with opened(world) as app:
        status = await app.recommender.status()

    feature = next(service for service in status.services if service.name == "feature")
    assert feature.state is ServiceState.NOT_SERVING
    assert feature.detail == (
        "replaying the log: 250,000 of 1,000,000 records, 50,000 a second, 15 seconds left; "
        "the store cannot be used: disk full; 0 users, 60 items so far"
    )


async def test_answers_degraded_ones_and_lost_slates_are_counted() -> None:
    world = World()

    async with opened(world, waiting_slates=1, close_seconds=0) as app:
        await app.recommender.recommend(ask())
        await world.feedback.recorded.wait()
        world.feedback.frozen = True
        world.ranking.error = down("ranking")
        for _ in range(3):
            await app.recommender.recommend(ask())
        status = await app.recommender.status()

    assert (status.tally.answered, status.tally.degraded) == (4, 3)
    assert status.lost_slates == 2


class Behind(FakeFeatures):
    """A projection that still replays the log."""

    async def status(self) -> ProjectionStatus:
        """Not caught up."""
        replay = LogReplay(done=250_000, total=1_000_000, per_second=50_000)
        problems = ("the store cannot be used: disk full",)
        return replace(await super().status(), caught_up=False, replay=replay, problems=problems)


async def test_the_page_tells_of_the_last_minutes_of_lag_and_of_the_last_training() -> None:
    world = World()
    world.ranking.bundle = TrainedBundle("test-bundle", NOW_MS, 1_000, NOW_MS - 1, {"two_stage_ndcg@10": 0.1})

    async with opened(world) as app:
        await app.recommender.recommend(ask())
        status = await app.recommender.status()

    assert status.traffic.answers_per_second > 0
    assert (status.traffic.losses, status.quality_factor) == ((), 1.0)
    assert status.bundle == world.ranking.bundle


def test_the_lag_is_what_the_head_is_ahead_in_each_partition() -> None:
    status = ProjectionStatus("w1-0.5-1.7", "w1-0.9-1.7-2.4", caught_up=True, users=0, items=0, applied_records=0)

    assert status.lag_records == 8
