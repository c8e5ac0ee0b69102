"""The whole retrieval in process, against an oracle that looks at every item."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.candidate_generation.query import Query, Source, SourceAnswer
from services.candidate_generation.retrieval import CandidateRetrieval
from services.candidate_generation.settings import DEFAULT_QUOTAS
from shared.domain.conditions import AttributeCondition, Comparison, ItemFilter
from shared.domain.items import Item, User
from shared.domain.retrieval import RetrievalRequest, RetrievalResult
from shared.domain.user_state import TopItems, TopOrder
from shared.kernel.errors import ServiceError
from tests.unit.candidate_generation.rooms import NOW_MS, Room, all_sources, asked, history_of, parts_of, retrieval_of

_NAMES = [f"i{number}" for number in range(12)]
_ODD = frozenset({"unknown", "no-such-category"})

_items = st.builds(
    Item,
    st.sampled_from(_NAMES),
    title=st.sampled_from(["red fox", "blue hen", ""]),
    categories=st.lists(st.sampled_from("abc"), max_size=2, unique=True).map(tuple),
    attributes=st.dictionaries(st.just("year"), st.sampled_from([1.0, 2.0]), max_size=1),
    available_from_ms=st.sampled_from([0, 0, 0, NOW_MS + 1]),
    available_until_ms=st.sampled_from([0, 0, 0, NOW_MS, NOW_MS + 1]),
)
_filters = st.builds(
    ItemFilter,
    st.frozensets(st.sampled_from(["a", "b", "no-such-category"]), max_size=2),
    st.frozensets(st.sampled_from(["c", "no-such-category"]), max_size=1),
    st.frozensets(st.sampled_from([*_NAMES, "unknown"]), max_size=6),
    st.lists(st.just(AttributeCondition("year", Comparison.GREATER, (1.0,))), max_size=1).map(tuple),
)
_requests = st.builds(
    RetrievalRequest,
    history=st.lists(st.sampled_from([*_NAMES, "unknown"]), max_size=6).map(lambda ids: history_of(*ids)),
    time_ms=st.just(NOW_MS),
    user=st.sampled_from([None, User("u", ("a", "x"))]),
    filter=_filters,
    seed_item_ids=st.lists(st.sampled_from([*_NAMES, "unknown"]), max_size=2).map(tuple),
    query_text=st.sampled_from(["", "fox"]),
)


class _World:
    """A catalogue, perhaps a bundle that knows some of it, and what happened since."""

    def __init__(self, items: Sequence[Item], in_bundle: Sequence[Item] | None, gone: Sequence[str]) -> None:
        self.room = Room(*items)
        self.latest = {item.item_id: item for item in items}
        self._gone, self._in_bundle = gone, in_bundle

    async def settle(self) -> CandidateRetrieval:
        self.room.features.top = {(TopOrder.POPULAR, ""): TopItems(("i3", "i1"), (2.0, 1.0))}
        await self.room.lists.refresh()
        if self._in_bundle:
            await self.room.load(parts_of(self._in_bundle, [_NAMES]))
        self.room.delete(*self._gone)
        for item_id in self._gone:
            self.latest.pop(item_id, None)
        return retrieval_of(self.room)

    def eligible(self, request: RetrievalRequest) -> set[str]:
        return {name for name, item in self.latest.items() if request.filter.allows(item, request.time_ms)}


_worlds = st.builds(
    _World,
    st.lists(_items, max_size=14),
    st.one_of(st.none(), st.lists(_items, max_size=8, unique_by=lambda item: item.item_id)),
    st.lists(st.sampled_from(_NAMES), max_size=3),
)


@given(_worlds, _requests, st.integers(1, 15))
def test_nothing_forbidden_comes_nothing_comes_twice_and_nothing_eligible_is_missing(
    world: _World, request: RetrievalRequest, quota: int
) -> None:
    async def play() -> list[RetrievalResult]:
        retrieval = await world.settle()
        by_source = dict.fromkeys(DEFAULT_QUOTAS, quota)
        full = await retrieval.retrieve(replace(request, quotas=by_source), budget_ms=5000)
        again = await retrieval.retrieve(replace(request, quotas=by_source), budget_ms=5000)
        popular = await retrieval.retrieve(replace(request, quotas={"popular": quota}), budget_ms=5000)
        learned = await retrieval.retrieve(replace(request, quotas={"retriever": quota}), budget_ms=5000)
        return [full, again, popular, learned]

    full, again, popular, learned = asyncio.run(play())

    eligible = world.eligible(request)
    for result in (full, popular, learned):
        assert set(result.item_ids) <= eligible
        assert len(set(result.item_ids)) == len(result.item_ids)
    assert len(popular.item_ids) == min(quota, len(eligible))
    assert len(full.item_ids) >= min(quota, len(eligible))
    if learned.provenance.index_version:
        assert len(learned.item_ids) == min(quota, len(eligible))
    assert full.item_ids == again.item_ids
    for hits in full.sources:
        assert len(hits.rows) == len(hits.scores) <= quota
        assert sorted(hits.scores.tolist(), reverse=True) == hits.scores.tolist()
        assert all(0 <= row < len(full.item_ids) for row in hits.rows)
    assert {row for hits in full.sources for row in hits.rows.tolist()} == set(range(len(full.item_ids)))


async def test_a_filter_that_leaves_three_of_a_hundred_thousand_gets_the_three() -> None:
    items = [
        Item(f"i{number}", categories=("rare",) if number % 40_000 == 9 else ("common",)) for number in range(100_000)
    ]
    room = Room(*items)
    await room.load(parts_of(items[:5000]))
    wanted = asked(history_of("i1"), filter=ItemFilter(include_categories=frozenset({"rare"})))

    result = await retrieval_of(room).retrieve(wanted, budget_ms=60_000)

    assert sorted(result.item_ids) == ["i40009", "i80009", "i9"]


async def test_while_the_catalogue_is_read_for_the_first_time_it_is_not_ready() -> None:
    retrieval = retrieval_of(Room(), ready=False)

    with pytest.raises(ServiceError, match="being read") as caught:
        await retrieval.retrieve(asked(), budget_ms=100)

    assert caught.value.reason.name == "NOT_READY"


async def test_an_empty_catalogue_gives_an_empty_answer() -> None:
    result = await retrieval_of(Room()).retrieve(asked(history_of("a")), budget_ms=100)

    assert result.item_ids == ()


async def test_without_a_bundle_popular_and_fresh_items_come_and_the_answer_says_what_is_missing() -> None:
    room = Room(*(Item(f"i{number}", created_ms=NOW_MS) for number in range(5)))
    await room.lists.refresh()

    result = await retrieval_of(room).retrieve(asked(history_of("i1")), budget_ms=1000)

    lost = {(each.stage, each.reason) for each in result.provenance.degraded}
    assert len(result.item_ids) == 5
    assert lost == {("retriever", "no-bundle"), ("neighbours", "no-bundle")}
    assert (result.provenance.model_version, result.provenance.index_version) == ("", "")


async def test_the_answer_says_which_bundle_and_which_kind_of_search_gave_it() -> None:
    room = Room(Item("a"), Item("b"))
    await room.load(parts_of([Item("a"), Item("b")], version="20240101T000000000-0000000b"))

    provenance = (await retrieval_of(room).retrieve(asked(history_of("a")), budget_ms=1000)).provenance

    assert provenance.model_version == "20240101T000000000-0000000b"
    assert provenance.index_version == "20240101T000000000-0000000b/annoy"
    assert {count.component: count.entered for count in provenance.stage_counts}["source:retriever"] == 2
    assert "source:retriever" in {timing.stage for timing in provenance.stage_timings}


async def test_quotas_that_are_named_switch_all_other_sources_off() -> None:
    room = Room(*(Item(f"i{number}") for number in range(9)))

    result = await retrieval_of(room).retrieve(asked(quotas={"popular": 2, "fresh": 0}), budget_ms=1000)

    assert [hits.source for hits in result.sources] == ["popular"]
    assert len(result.item_ids) == 2


async def test_a_source_of_the_future_is_named_and_the_others_answer() -> None:
    room = Room(Item("a"))
    await room.lists.refresh()

    result = await retrieval_of(room).retrieve(asked(quotas={"popular": 5, "telepathy": 5}), budget_ms=1000)

    assert result.item_ids == ("a",)
    assert [(lost.stage, lost.reason) for lost in result.provenance.degraded] == [("telepathy", "unknown-source")]


async def test_a_quota_beyond_the_limit_is_coerced_and_one_beyond_the_catalogue_gives_the_catalogue() -> None:
    room = Room(*(Item(f"i{number}") for number in range(3000)))

    huge = await retrieval_of(room).retrieve(asked(quotas={"popular": 10_000_000}), budget_ms=1000)
    whole = await retrieval_of(Room(Item("a"))).retrieve(asked(quotas={"popular": 2000}), budget_ms=1000)

    assert len(huge.item_ids) == 2000
    assert whole.item_ids == ("a",)


async def test_an_item_deleted_while_the_sources_are_asked_does_not_come() -> None:
    room = Room(Item("a"), Item("b"))

    class Deleting:
        name = "popular"

        def applies(self, _query: Query) -> bool:
            return True

        async def search(self, query: Query, quota: int) -> SourceAnswer:
            answer = await next(source for source in all_sources(room) if source.name == "popular").search(query, quota)
            room.delete("a")
            return answer

    sources: list[Source] = [Deleting()]
    result = await retrieval_of(room, sources=sources).retrieve(asked(quotas={"popular": 5}), budget_ms=1000)

    assert result.item_ids == ("b",)
    assert result.sources[0].rows.tolist() == [0]


async def test_twenty_thousand_excluded_ids_and_unknown_categories_are_normal() -> None:
    room = Room(*(Item(f"i{number}") for number in range(20)))
    wanted = ItemFilter(
        exclude_categories=_ODD, exclude_item_ids=frozenset(f"i{number}" for number in range(5, 20_005))
    )

    result = await retrieval_of(room).retrieve(asked(filter=wanted), budget_ms=1000)

    assert sorted(result.item_ids) == ["i0", "i1", "i2", "i3", "i4"]
