"""What every `CandidateGeneration` does, called in process or over gRPC with a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from winnow.v1 import candidate_generation_service_pb2 as pb
from winnow.v1 import event_pb2
from winnow.v1.candidate_generation_service_pb2_grpc import CandidateGenerationServiceStub

from services.candidate_generation.app import SERVICE_NAME
from shared.domain.conditions import AttributeCondition, Comparison, ItemFilter
from shared.domain.history import History
from shared.domain.items import Item, User
from shared.domain.services import CandidateGeneration
from shared.domain.user_state import TopItems, TopOrder
from shared.kernel.errors import ServiceError, from_rpc_error
from tests.unit.candidate_generation.memory_features import MemoryFeatures
from tests.unit.candidate_generation.rooms import NOW_MS, asked, history_of
from tests.unit.candidate_generation.running import over_grpc, quick_settings, running
from tests.unit.candidate_generation.waiting import until

ITEMS = [
    Item("red-fox", title="The Red Fox", categories=("Animals",), attributes={"year": 1999.0}),
    Item("blue-fox", title="The Blue Fox", categories=("Animals",), attributes={"year": 2005.0}),
    Item("hammer", title="Hammer", categories=("Tools",), tags=("steel",)),
    Item("gone", title="Not any more", available_until_ms=NOW_MS),
]


@dataclass
class Served:
    """A port and what is behind it."""

    port: CandidateGeneration
    features: MemoryFeatures
    address: str


@pytest.fixture
def features() -> MemoryFeatures:
    """A small catalogue with one popular item."""
    features = MemoryFeatures()
    features.upsert(*ITEMS)
    features.top = {(TopOrder.POPULAR, ""): TopItems(("hammer", "red-fox"), (5.0, 2.0))}
    return features


@pytest.fixture(params=["in process", "over gRPC"])
async def served(request: pytest.FixtureRequest, features: MemoryFeatures, tmp_path: Path) -> AsyncIterator[Served]:
    """The port, ready."""
    async with running(quick_settings(tmp_path), features) as app, over_grpc(app) as (client, address):
        await until(lambda: app.hosted.readiness.ready and (TopOrder.TRENDING, "") in features.top_calls)
        yield Served(app.candidates if request.param == "in process" else client, features, address)


async def test_candidates_come_once_with_the_sources_that_gave_them(served: Served) -> None:
    result = await served.port.retrieve(asked(query_text="fox"), budget_ms=20_000)

    by_source = {hits.source: [result.item_ids[row] for row in hits.rows] for hits in result.sources}
    assert sorted(result.item_ids) == ["blue-fox", "hammer", "red-fox"]
    assert by_source["popular"][:2] == ["hammer", "red-fox"]
    assert sorted(by_source["search"]) == ["blue-fox", "red-fox"]
    assert result.item_ids[:2] == (by_source["search"][0], "hammer")
    assert all(len(hits.rows) == len(hits.scores) for hits in result.sources)


async def test_what_was_lost_and_how_fresh_the_answer_is_stands_in_the_provenance(served: Served) -> None:
    result = await served.port.retrieve(asked(history_of("red-fox"), query_text="fox"), budget_ms=20_000)

    provenance = result.provenance
    assert {(lost.stage, lost.reason) for lost in provenance.degraded} == {
        ("retriever", "no-bundle"),
        ("neighbours", "no-bundle"),
        ("search", "not-installed"),
    }
    assert provenance.watermark == "w1-0.4"
    assert {count.component for count in provenance.stage_counts} >= {"source:popular", "source:search"}
    assert all(timing.duration_ms >= 0 for timing in provenance.stage_timings)


async def test_filters_hold(served: Served) -> None:
    newer = ItemFilter(conditions=(AttributeCondition("year", Comparison.GREATER, (2000.0,)),))
    animals = ItemFilter(include_categories=frozenset({"Animals"}), exclude_item_ids=frozenset({"blue-fox"}))
    nothing = ItemFilter(include_categories=frozenset({"no-such-category"}))

    found = [
        (await served.port.retrieve(asked(filter=wanted), budget_ms=20_000)).item_ids
        for wanted in (newer, animals, nothing)
    ]

    assert found == [("blue-fox",), ("red-fox",), ()]


async def test_the_time_of_the_request_decides_what_is_available(served: Served) -> None:
    earlier = await served.port.retrieve(asked(time_ms=NOW_MS - 1, quotas={"popular": 9}), budget_ms=20_000)
    now = await served.port.retrieve(asked(quotas={"popular": 9}), budget_ms=20_000)

    assert set(earlier.item_ids) - set(now.item_ids) == {"gone"}


async def test_what_nobody_knows_is_normal(served: Served) -> None:
    strange = asked(
        history_of("who", "knows"), user=User("u", ("unheard-of",)), seed_item_ids=("nobody",), query_text="?!"
    )

    result = await served.port.retrieve(strange, budget_ms=20_000)

    assert sorted(result.item_ids) == ["blue-fox", "hammer", "red-fox"]


async def test_events_of_kinds_and_values_of_the_future_are_normal(served: Served) -> None:
    history = History(
        ("red-fox",), np.array([77], np.int32), np.array([np.nan], np.float32), np.array([NOW_MS + 10**12], np.int64)
    )

    assert len((await served.port.retrieve(asked(history), budget_ms=20_000)).item_ids) == 3


async def test_twenty_thousand_excluded_ids_are_taken(served: Served) -> None:
    excluded = frozenset({"hammer", *(f"other{number}" for number in range(19_999))})

    result = await served.port.retrieve(asked(filter=ItemFilter(exclude_item_ids=excluded)), budget_ms=20_000)

    assert sorted(result.item_ids) == ["blue-fox", "red-fox"]


async def test_only_the_named_sources_answer_and_at_most_their_quota(served: Served) -> None:
    result = await served.port.retrieve(asked(quotas={"popular": 2, "telepathy": 3}), budget_ms=20_000)

    assert [hits.source for hits in result.sources] == ["popular"]
    assert result.item_ids == ("hammer", "red-fox")
    assert [(lost.stage, lost.reason) for lost in result.provenance.degraded] == [("telepathy", "unknown-source")]


async def test_the_same_question_gets_the_same_answer(served: Served) -> None:
    question = asked(history_of("red-fox"), query_text="the fox", user=User("u", ("Animals",)))

    answers = [(await served.port.retrieve(question, budget_ms=20_000)).item_ids for _ in range(3)]

    assert answers[0] == answers[1] == answers[2]


async def test_a_new_item_comes_and_a_deleted_one_goes(served: Served) -> None:
    served.features.upsert(Item("green-fox", title="The Green Fox"))
    served.features.delete("red-fox")

    found: set[str] = set()
    while found != {"blue-fox", "hammer", "green-fox"}:
        found = set((await served.port.retrieve(asked(quotas={"popular": 9}), budget_ms=20_000)).item_ids)

    assert "red-fox" not in found


@pytest.mark.parametrize("over_network", [False, True])
async def test_while_the_first_catalogue_is_read_it_is_not_ready(
    features: MemoryFeatures, tmp_path: Path, *, over_network: bool
) -> None:
    features.hold_back = True
    async with running(quick_settings(tmp_path), features) as app, over_grpc(app) as (client, address):
        port = client if over_network else app.candidates
        with pytest.raises(ServiceError) as caught:
            await port.retrieve(asked(), budget_ms=20_000)
        health = await _health(address)

    assert caught.value.reason.name == "NOT_READY"
    assert caught.value.retry_after_ms is not None
    assert health == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_health_says_serving_once_the_catalogue_is_read_even_without_a_bundle(served: Served) -> None:
    assert await _health(served.address) == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.RetrieveCandidatesRequest(quotas=[pb.SourceQuota(source="popular", count=-1)]), "quotas[0].count"),
        (pb.RetrieveCandidatesRequest(history=event_pb2.HistoryColumns(item_ids=["a"])), "history"),
        (pb.RetrieveCandidatesRequest(seed_item_ids=["x" * 129]), "seed_item_ids[0]"),
        (
            pb.RetrieveCandidatesRequest(filter=pb.CandidateFilter(conditions=[pb.AttributeCondition(name="year")])),
            "filter.conditions[0].comparison",
        ),
    ],
)
async def test_a_broken_request_is_refused_and_the_field_is_named(
    served: Served, message: pb.RetrieveCandidatesRequest, field: str
) -> None:
    async with grpc.aio.insecure_channel(served.address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await CandidateGenerationServiceStub(channel).RetrieveCandidates(message)

    error = from_rpc_error(caught.value)
    assert error.reason.name == "INVALID_FIELD"
    assert field in [violation.field for violation in error.violations]


async def test_without_a_time_the_request_is_for_now(served: Served) -> None:
    async with grpc.aio.insecure_channel(served.address) as channel:
        answer = await CandidateGenerationServiceStub(channel).RetrieveCandidates(pb.RetrieveCandidatesRequest())

    assert sorted(answer.item_ids) == ["blue-fox", "hammer", "red-fox"]


async def _health(address: str) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=SERVICE_NAME)
        return int((await health_pb2_grpc.HealthStub(channel).Check(request)).status)
