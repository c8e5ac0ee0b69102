"""Every wrong request gets one clear error with one ErrorInfo, or the answer that the contract documents."""

from __future__ import annotations

import math

import grpc
import pytest
from winnow.v1 import recommendation_service_pb2 as pb
from winnow.v1.candidate_generation_service_pb2 import AttributeCondition, CandidateFilter
from winnow.v1.event_pb2 import Event
from winnow.v1.item_pb2 import Attribute
from winnow.v1.slate_pb2 import RequestContext

from tests.integration.recommendation.served import client_of, refusal_of
from tests.unit.recommendation.front import World

LONG = "x" * 129
INFINITE = Event(event_id="e", item_id="i", event_type=4, value=math.inf)
NAN = Attribute(name="year", number_value=math.nan)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.RecommendRequest(), "subject"),
        (pb.RecommendRequest(user_id=""), "user_id"),
        (pb.RecommendRequest(user_id=LONG), "user_id"),
        (pb.RecommendRequest(session=pb.Session(session_id=LONG)), "session.session_id"),
        (pb.RecommendRequest(user_id="ann", surface="s" * 65), "surface"),
        (pb.RecommendRequest(user_id="ann", page_size=-1), "page_size"),
        (pb.RecommendRequest(user_id="ann", page_token="t" * 1025), "page_token"),
        (pb.RecommendRequest(user_id="ann", candidate_item_ids=["a", ""]), "candidate_item_ids[1]"),
        (pb.RecommendRequest(user_id="ann", candidate_item_ids=map(str, range(1001))), "candidate_item_ids"),
        (
            pb.RecommendRequest(user_id="ann", filter=CandidateFilter(exclude_item_ids=[LONG])),
            "filter.exclude_item_ids[0]",
        ),
        (
            pb.RecommendRequest(
                user_id="ann", filter=CandidateFilter(conditions=[AttributeCondition(name="year", comparison=1)])
            ),
            "filter.conditions[0].operands",
        ),
        (
            pb.RecommendRequest(
                user_id="ann",
                filter=CandidateFilter(conditions=[AttributeCondition(name="year", comparison=3, operands=[NAN])]),
            ),
            "filter.conditions[0].operands[0].number_value",
        ),
        (
            pb.RecommendRequest(user_id="ann", context=RequestContext(attributes=[NAN])),
            "context.attributes[0].number_value",
        ),
        (
            pb.RecommendRequest(
                session=pb.Session(events=[Event(event_id="e", item_id="i", event_type=4, value=math.inf)])
            ),
            "session.events[0].value",
        ),
        (
            pb.RecommendRequest(session=pb.Session(events=[Event(event_id="e", item_id="i")])),
            "session.events[0].event_type",
        ),
    ],
)
async def test_a_field_that_breaks_the_contract_is_named(request_: pb.RecommendRequest, field: str) -> None:
    async with client_of(World()) as client:
        refusal = await refusal_of(client.recommendations.Recommend(request_))

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert refusal.fields == [field]
    assert field in refusal.message
    assert refusal.metadata == {"fieldViolations": "1"}


async def test_a_condition_on_an_attribute_of_another_type_names_attribute_type_and_remedy() -> None:
    text = AttributeCondition(name="year", comparison=5, operands=[Attribute(name="year", string_value="1990")])
    request = pb.RecommendRequest(user_id="ann", filter=CandidateFilter(conditions=[text]))

    async with client_of(World()) as client:
        refusal = await refusal_of(client.recommendations.Recommend(request))

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
    assert refusal.fields == ["filter.conditions[0].operands[0]"]
    assert "GREATER compares numbers and '1990' is text; give a number" in refusal.message


async def test_all_broken_fields_are_listed_at_once() -> None:
    request = pb.RecommendRequest(user_id=LONG, page_size=-5, surface="s" * 65)

    async with client_of(World()) as client:
        refusal = await refusal_of(client.recommendations.Recommend(request))

    assert sorted(refusal.fields) == ["page_size", "surface", "user_id"]
    assert refusal.metadata == {"fieldViolations": "3"}


@pytest.mark.parametrize(("asked", "given"), [(0, 10), (1, 1), (200, 55), (201, 55), (2**31 - 1, 55)])
async def test_a_page_size_of_nothing_is_ten_and_too_much_is_coerced(asked: int, given: int) -> None:
    async with client_of(World()) as client:
        answer = await client.recommendations.Recommend(pb.RecommendRequest(user_id="ann", page_size=asked))

    assert len(answer.items) == given


async def test_a_watermark_that_no_log_gave_is_refused() -> None:
    request = pb.RecommendRequest(user_id="ann", min_watermark="yesterday")

    async with client_of(World()) as client:
        refusal = await refusal_of(client.recommendations.Recommend(request))

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "WATERMARK_INVALID")
    assert refusal.metadata == {"watermark": "yesterday"}


async def test_a_forged_page_token_is_refused() -> None:
    async with client_of(World()) as client:
        request = pb.RecommendRequest(user_id="ann", page_token="Zm9yZ2Vk")
        refusal = await refusal_of(client.recommendations.Recommend(request))

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")
    assert "start again without a token" in refusal.message


async def test_another_users_page_token_is_refused() -> None:
    async with client_of(World()) as client:
        first = await client.recommendations.Recommend(pb.RecommendRequest(user_id="ann"))
        request = pb.RecommendRequest(user_id="bob", page_token=first.next_page_token)
        refusal = await refusal_of(client.recommendations.Recommend(request))

    assert refusal.reason == "PAGE_TOKEN_INVALID"


async def test_a_page_token_that_is_played_again_gives_its_own_page_and_no_other() -> None:
    async with client_of(World()) as client:
        first = await client.recommendations.Recommend(pb.RecommendRequest(user_id="ann"))
        request = pb.RecommendRequest(user_id="ann", page_token=first.next_page_token)
        pages = [await client.recommendations.Recommend(request) for _ in range(3)]
        other = pb.RecommendRequest(user_id="ann", surface="elsewhere", page_token=first.next_page_token)
        refusal = await refusal_of(client.recommendations.Recommend(other))

    assert len({tuple(item.item_id for item in page.items) for page in pages}) == 1
    assert refusal.reason == "PAGE_TOKEN_INVALID"


async def test_an_old_page_token_says_how_old_it_is() -> None:
    world = World()

    async with client_of(world, page_life_seconds=60) as client:
        first = await client.recommendations.Recommend(pb.RecommendRequest(user_id="ann"))
        world.now_ms += 90_000
        request = pb.RecommendRequest(user_id="ann", page_token=first.next_page_token)
        refusal = await refusal_of(client.recommendations.Recommend(request))

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_EXPIRED")
    assert refusal.metadata == {"ageSeconds": "90", "limitSeconds": "60"}


async def test_a_request_of_ten_megabytes_is_refused_with_the_limit() -> None:
    request = pb.RecommendRequest(user_id="ann", filter=CandidateFilter(exclude_item_ids=["x" * 128] * 80_000))

    async with client_of(World()) as client:
        refusal = await refusal_of(client.recommendations.Recommend(request))

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")


async def test_an_event_type_of_the_future_in_a_session_is_ignored() -> None:
    event = Event(event_id="e", item_id="film-007", event_type=4711)  # type: ignore[arg-type]  # an open enum

    async with client_of(World()) as client:
        answer = await client.recommendations.Recommend(
            pb.RecommendRequest(session=pb.Session(events=[event]), page_size=200)
        )

    assert "film-007" in {item.item_id for item in answer.items}


async def test_a_moment_far_in_the_future_is_answered_for_that_moment() -> None:
    request = pb.RecommendRequest(user_id="ann")
    request.context.time.FromSeconds(253_402_300_799)

    async with client_of(World()) as client:
        answer = await client.recommendations.Recommend(request)

    assert len(answer.items) == 10
    assert not answer.header.degraded


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("SimilarItems", pb.SimilarItemsRequest(), "item_ids"),
        ("SimilarItems", pb.SimilarItemsRequest(item_ids=[LONG]), "item_ids[0]"),
        ("SimilarItems", pb.SimilarItemsRequest(item_ids=["a"], page_size=-1), "page_size"),
        ("TrendingItems", pb.TrendingItemsRequest(category=LONG), "category"),
        ("SearchItems", pb.SearchItemsRequest(), "query"),
        ("SearchItems", pb.SearchItemsRequest(query="q" * 1025), "query"),
        ("Replay", pb.ReplayRequest(), "recommendation_id"),
    ],
)
async def test_look_ups_and_replay_name_the_broken_field_too(method: str, request_: object, field: str) -> None:
    async with client_of(World()) as client:
        refusal = await refusal_of(getattr(client.recommendations, method)(request_))

    assert (refusal.reason, refusal.fields) == ("INVALID_FIELD", [field])


async def test_an_unknown_recommendation_id_is_not_found() -> None:
    async with client_of(World()) as client:
        refusal = await refusal_of(client.recommendations.Replay(pb.ReplayRequest(recommendation_id="never")))

    assert (refusal.code, refusal.reason) == (grpc.StatusCode.NOT_FOUND, "RECOMMENDATION_NOT_FOUND")
    assert refusal.metadata == {"recommendationId": "never"}
