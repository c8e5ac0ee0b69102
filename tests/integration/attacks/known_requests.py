"""Requests that a running product answers with OK, made of a slate that it served: what attackers alter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from google.protobuf.message import Message
from winnow.v1 import (
    candidate_generation_service_pb2,
    catalog_service_pb2,
    event_pb2,
    feature_service_pb2,
    feedback_service_pb2,
    item_pb2,
    ranking_service_pb2,
    recommendation_service_pb2,
    slate_pb2,
)

YEAR = item_pb2.Attribute(name="year", number_value=1999)


def by_kind(requests: Iterable[Message]) -> dict[str, list[Message]]:
    """The requests by the full name of their message."""
    sorted_in = defaultdict(list)
    for each in requests:
        sorted_in[each.DESCRIPTOR.full_name].append(each)
    return dict(sorted_in)


def known_requests(
    answer: recommendation_service_pb2.RecommendResponse, slate: slate_pb2.ServedSlate
) -> Iterator[Message]:
    """Requests that follow from an answer and from what the log keeps of it."""
    event = event_pb2.Event(
        event_id="known-1", user_id="ann", item_id=answer.items[0].item_id, event_type=event_pb2.EVENT_TYPE_RATING,
        value=4, recommendation_id=answer.recommendation_id, surface="home",
    )  # fmt: skip
    wanted = candidate_generation_service_pb2.CandidateFilter(
        include_categories=["Horror", "Comedy"],
        conditions=[
            candidate_generation_service_pb2.AttributeCondition(
                name="year", comparison=candidate_generation_service_pb2.COMPARISON_LESS, operands=[YEAR]
            )
        ],
    )
    yield from _events(event)
    yield from _slates(answer, slate)
    yield from _catalogue()
    yield from _questions(answer, event, wanted)
    yield candidate_generation_service_pb2.RetrieveCandidatesRequest(
        history=slate.history,
        user=slate.user if slate.HasField("user") else None,
        filter=wanted,
        request_time=slate.served_time,
        quotas=[candidate_generation_service_pb2.SourceQuota(source="retriever", count=50)],
    )


def _events(event: event_pb2.Event) -> Iterator[Message]:
    yield feedback_service_pb2.RecordEventsRequest(events=[event])
    yield feedback_service_pb2.StreamEventsRequest(events=[event])


def _slates(answer: recommendation_service_pb2.RecommendResponse, slate: slate_pb2.ServedSlate) -> Iterator[Message]:
    yield feedback_service_pb2.RecordSlatesRequest(slates=[slate])
    yield feedback_service_pb2.GetSlateRequest(recommendation_id=answer.recommendation_id)
    yield recommendation_service_pb2.ReplayRequest(recommendation_id=answer.recommendation_id)
    yield ranking_service_pb2.RankRequest(
        history=slate.history, context=slate.context, candidates=slate.candidates, budget_ms=10_000
    )


def _catalogue() -> Iterator[Message]:
    vector = item_pb2.ContentVector(modality="text", encoder_id="some/encoder", values=[0.5, -0.5])
    item = item_pb2.Item(
        item_id="romance-3", title="The sweet", creator_id="c", categories=["Romance"], tags=["t"], attributes=[YEAR],
        vectors=[vector],
    )  # fmt: skip
    yield catalog_service_pb2.UpsertItemsRequest(items=[item])
    yield catalog_service_pb2.UpsertUsersRequest(
        users=[item_pb2.User(user_id="bob", interest_tags=["Horror"], attributes=[YEAR])]
    )
    yield feature_service_pb2.ListItemsRequest(page_size=3, category="Horror")
    yield feature_service_pb2.GetUserStateRequest(user_id="ann", history_limit=3)


def _questions(
    answer: recommendation_service_pb2.RecommendResponse,
    event: event_pb2.Event,
    wanted: candidate_generation_service_pb2.CandidateFilter,
) -> Iterator[Message]:
    context = slate_pb2.RequestContext(locale="de", device="phone", attributes=[YEAR])
    asked = recommendation_service_pb2.RecommendRequest
    yield asked(user_id="ann", surface="home", context=context, filter=wanted, page_size=20, explain=True)
    yield asked(user_id="bob", candidate_item_ids=["horror-1", "comedy-2", "unknown"], funnel_ids=True)
    yield asked(user_id="ann", page_token=answer.next_page_token, page_size=5)
    yield asked(session=recommendation_service_pb2.Session(session_id="s", events=[event]), surface="discover")
    yield recommendation_service_pb2.SimilarItemsRequest(item_ids=["horror-0"], filter=wanted)
    yield recommendation_service_pb2.SearchItemsRequest(query="dark night", user_id="ann", filter=wanted)
    yield recommendation_service_pb2.TrendingItemsRequest(category="Horror", filter=wanted)
