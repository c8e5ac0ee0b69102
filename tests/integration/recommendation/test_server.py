"""The front as a client sees it: health, answers, explanations and deadlines over real gRPC."""

from __future__ import annotations

import math

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from winnow.v1 import monitoring_service_pb2 as monitoring_pb
from winnow.v1 import recommendation_service_pb2 as pb

from shared.domain.log_replay import LogReplay
from tests.fakes_services import down
from tests.integration.recommendation.served import client_of
from tests.unit.recommendation.front import World


async def test_the_front_is_serving_while_every_other_service_is_down() -> None:
    world = World()
    for service in (world.features, world.candidates, world.ranking, world.feedback):
        service.error = down("all")

    async with client_of(world, close_seconds=0) as client:
        health = health_pb2_grpc.HealthStub(client.channel)
        states = [
            (await health.Check(health_pb2.HealthCheckRequest(service=name))).status
            for name in ("", "winnow.v1.RecommendationService", "winnow.v1.MonitoringService")
        ]
        answer = await client.recommendations.Recommend(pb.RecommendRequest(user_id="ann"))

    assert states == [health_pb2.HealthCheckResponse.SERVING] * 3
    assert len(answer.items) == 0
    assert {lost.stage for lost in answer.header.degraded} >= {"hydrate", "retrieve", "popular"}


async def test_an_answer_carries_everything_that_a_client_relies_on() -> None:
    async with client_of(World()) as client:
        call = client.recommendations.Recommend(
            pb.RecommendRequest(user_id="ann", explain=True), metadata=(("x-request-id", "my-request"),)
        )
        answer = await call

    assert answer.header.request_id == "my-request"
    assert (answer.header.model_version, answer.header.index_version) == ("test-bundle", "test/annoy")
    assert [timing.stage for timing in answer.header.stage_timings][-1] == "explain"
    assert [item.position for item in answer.items] == list(range(10))
    assert answer.recommendation_id
    assert answer.next_page_token
    assert all(item.sources for item in answer.items)


async def test_explanations_recompute_the_score_on_the_clients_side() -> None:
    async with client_of(World()) as client:
        answer = await client.recommendations.Recommend(pb.RecommendRequest(user_id="ann", explain=True))

    for item in answer.items:
        score = sum(action.probability * action.weight for action in item.explanation.actions)
        score *= math.prod(adjustment.factor for adjustment in item.explanation.adjustments)
        assert score == pytest.approx(item.score, abs=1e-5)
        for action in item.explanation.actions:
            logit = action.calibration_scale * sum(part.value for part in action.parts) + action.calibration_offset
            assert 1 / (1 + math.exp(-logit)) == pytest.approx(action.probability, abs=1e-5)
        assert item.explanation.sentence


async def test_pages_over_grpc_continue_the_slate() -> None:
    async with client_of(World()) as client:
        first = await client.recommendations.Recommend(pb.RecommendRequest(user_id="ann"))
        second = await client.recommendations.Recommend(
            pb.RecommendRequest(user_id="ann", page_token=first.next_page_token)
        )

    assert second.recommendation_id == first.recommendation_id
    assert {item.item_id for item in first.items}.isdisjoint(item.item_id for item in second.items)
    assert [item.position for item in second.items] == list(range(10, 20))


async def test_a_frozen_ranker_is_left_behind_before_the_clients_deadline() -> None:
    world = World()
    world.ranking.frozen = True

    async with client_of(world) as client:
        answer = await client.recommendations.Recommend(pb.RecommendRequest(user_id="ann"), timeout=1.0)

    assert len(answer.items) == 10
    assert ("rank", "deadline") in {(lost.stage, lost.reason) for lost in answer.header.degraded}


async def test_without_a_deadline_a_frozen_service_costs_no_more_than_the_budget() -> None:
    world = World()
    world.candidates.frozen = True

    async with client_of(world, budget_ms=500) as client:
        answer = await client.recommendations.Recommend(pb.RecommendRequest(user_id="ann"))

    assert len(answer.items) == 10
    assert ("retrieve", "deadline") in {(lost.stage, lost.reason) for lost in answer.header.degraded}


async def test_a_client_that_hangs_up_stops_the_work() -> None:
    world = World()
    world.ranking.frozen = True

    async with client_of(world, budget_ms=60_000) as client:
        call = client.recommendations.Recommend(pb.RecommendRequest(user_id="ann"))
        await world.ranking.reached.wait()
        call.cancel()
        with pytest.raises(BaseException) as raised:  # noqa: PT011 - grpc.aio cancels the awaiting task's future
            await call
        world.ranking.frozen = False
        status = await client.monitoring.GetStatus(monitoring_pb.GetStatusRequest())

    assert "Cancelled" in type(raised.value).__name__
    assert status.recommend_count == 0


async def test_the_status_page_shows_how_far_the_features_replay_is() -> None:
    world = World()
    world.features.replay = LogReplay(done=20, total=100, per_second=40.0)

    async with client_of(world) as client:
        status = await client.monitoring.GetStatus(monitoring_pb.GetStatusRequest())

    assert (status.feature_replay.done_records, status.feature_replay.total_records) == (20, 100)
    assert status.feature_replay.remaining_duration.ToSeconds() == 2
    assert (
        next(each.state for each in status.services if each.name == "feature")
        == monitoring_pb.SERVICE_STATE_NOT_SERVING
    )


async def test_similar_trending_and_searched_items_come_over_grpc() -> None:
    world = World()
    ids = [film.item_id for film in world.films]
    world.candidates.sources |= {"similar": tuple(ids[10:]), "search": tuple(ids[20:])}

    async with client_of(world) as client:
        similar = await client.recommendations.SimilarItems(pb.SimilarItemsRequest(item_ids=["film-001"], page_size=3))
        trending = await client.recommendations.TrendingItems(pb.TrendingItemsRequest(category="war", page_size=3))
        found = await client.recommendations.SearchItems(pb.SearchItemsRequest(query="a war film", page_size=3))

    assert [item.item_id for item in similar.items] == ["film-010", "film-011", "film-012"]
    assert [item.item_id for item in trending.items] == ["film-003", "film-007", "film-011"]
    assert [item.item_id for item in found.items] == ["film-020", "film-021", "film-022"]


async def test_a_replay_over_grpc_is_identical() -> None:
    world = World()

    async with client_of(world) as client:
        served = await client.recommendations.Recommend(pb.RecommendRequest(user_id="ann"))
        await world.feedback.recorded.wait()
        replayed = await client.recommendations.Replay(pb.ReplayRequest(recommendation_id=served.recommendation_id))

    assert replayed.identical
    assert list(replayed.differences) == []
    assert [item.item_id for item in replayed.replayed_items] == [item.item_id for item in served.items]
    assert replayed.served_time.ToMilliseconds() == world.now_ms


async def test_the_status_page_tells_versions_counts_and_every_service() -> None:
    async with client_of(World()) as client:
        await client.recommendations.Recommend(pb.RecommendRequest(user_id="ann"))
        status = await client.monitoring.GetStatus(monitoring_pb.GetStatusRequest())

    assert [service.name for service in status.services] == [
        "recommendation",
        "candidate_generation",
        "feature",
        "ranking",
        "feedback",
    ]
    assert {service.state for service in status.services} == {monitoring_pb.SERVICE_STATE_SERVING}
    assert (status.recommend_count, status.degraded_count, status.lost_slates) == (1, 0, 0)
    assert (status.feature_watermark, status.items) == ("w1-0.100", 60)
    assert status.release


async def test_two_requests_at_once_do_not_mix() -> None:
    world = World()

    async with client_of(world) as client:
        one = client.recommendations.Recommend(pb.RecommendRequest(user_id="ann"))
        other = client.recommendations.Recommend(
            pb.RecommendRequest(session=pb.Session(session_id="s"), candidate_item_ids=["film-003"])
        )
        answers = await one, await other

    assert len(answers[0].items) == 10
    assert [item.item_id for item in answers[1].items] == ["film-003"]
    assert await one.code() is grpc.StatusCode.OK
