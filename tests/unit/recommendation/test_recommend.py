"""What a slate holds, while every service answers."""

from __future__ import annotations

from pathlib import Path

from services.recommendation.queries import Query
from shared.domain.conditions import AttributeCondition, Comparison, ItemFilter
from shared.domain.events import Event, EventType
from shared.domain.history import History
from shared.domain.provenance import Degradation
from shared.domain.retrieval import RetrievalRequest
from shared.domain.user_state import ItemState, ItemStatus
from shared.domain.watermark import Watermark
from tests.unit.recommendation.front import NOW_MS, World, ask, events, item_ids, losses, opened, user

GONE = {"film-001", "film-002"}
"""What ann has liked or hidden in some tests: retrieval is told, so it does not come back."""


async def test_a_healthy_answer_is_full_ordered_and_not_degraded() -> None:
    world = World()

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    scores = [entry.score for entry in answer.entries]
    assert len(answer.entries) == 10
    assert scores == sorted(scores, reverse=True)
    assert [entry.position for entry in answer.entries] == list(range(10))
    assert losses(answer) == set()


async def test_the_header_says_what_answered() -> None:
    world = World()

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask(request_id="r-1"))

    header = answer.provenance
    assert (header.model_version, header.index_version, header.watermark) == ("test-bundle", "test/annoy", "w1-0.100")
    assert header.config_version == app.recommender.admission.surfaces.version
    assert header.request_id == "r-1"
    assert [timing.stage for timing in header.stage_timings] == [
        "hydrate",
        "retrieve",
        "items",
        "filter",
        "rank",
        "select",
    ]


async def test_the_header_counts_what_each_step_added_and_removed() -> None:
    world = World()
    everything = RetrievalRequest(History.empty(), NOW_MS)
    world.candidates.result = await world.candidates.retrieve(everything, budget_ms=1)

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    counts = {count.component: (count.entered, count.removed) for count in answer.provenance.stage_counts}
    assert counts["source:retriever"] == (40, 0)
    assert counts["filter:consumed"] == (60, 5)
    assert counts["filter:catalogue"] == (55, 0)


async def test_the_header_names_the_items_behind_its_counts_only_when_asked() -> None:
    world = World()
    world.features.users["ann"] = user("ann", liked=["film-001"], hidden=["film-002"])

    async with opened(world) as app:
        plain = await app.recommender.recommend(ask())
        told = await app.recommender.recommend(ask(funnel_ids=True))

    assert all(count.item_ids == () for count in plain.provenance.stage_counts)
    ids = {count.component: count.item_ids for count in told.provenance.stage_counts}
    assert ids["source:retriever"] == tuple(film.item_id for film in world.films[:40] if film.item_id not in GONE)
    assert ids["filter:hidden"] == ()


async def test_the_cut_names_what_is_not_ranked_and_the_log_keeps_no_such_names(tmp_path: Path) -> None:
    (tmp_path / "default.yaml").write_text("weights: {click: 1}\nranked_candidates: 20\n")
    world = World()

    async with opened(world, surfaces_dir=tmp_path) as app:
        told = await app.recommender.recommend(ask(funnel_ids=True))

    ids = {count.component: count.item_ids for count in told.provenance.stage_counts}
    assert len(ids["cut"]) == 35
    assert all(count.item_ids == () for slate in world.feedback.slates for count in slate.provenance.stage_counts)


async def test_a_filter_names_what_it_removed_when_asked() -> None:
    world = World()
    asked = tuple(film.item_id for film in world.films[:10])
    world.features.users["ann"] = user("ann", liked=["film-001"], hidden=["film-002"])

    async with opened(world) as app:
        told = await app.recommender.recommend(ask(funnel_ids=True, candidate_item_ids=asked))

    ids = {count.component: count.item_ids for count in told.provenance.stage_counts}
    assert ids["source:caller"] == asked
    assert ids["filter:consumed"] == ("film-001",)
    assert ids["filter:hidden"] == ("film-002",)


async def test_consumed_and_hidden_items_do_not_come_back() -> None:
    world = World()
    world.features.users["ann"] = user("ann", liked=["film-000", "film-001"], hidden=["film-002"])

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask(page_size=200))

    assert len(answer.entries) == 57
    assert {"film-000", "film-001", "film-002"}.isdisjoint(item_ids(answer))


async def test_what_must_not_come_back_is_told_to_retrieval_so_that_quotas_are_filled() -> None:
    world = World()
    world.features.users["ann"] = user("ann", liked=["film-000"], hidden=["film-002"])

    async with opened(world) as app:
        await app.recommender.recommend(ask(filter=ItemFilter(exclude_item_ids=frozenset({"film-003"}))))

    assert world.candidates.requests[-1].filter.exclude_item_ids == {"film-000", "film-002", "film-003"}


async def test_a_filter_holds_for_every_entry() -> None:
    world = World()
    wanted = ItemFilter(
        include_categories=frozenset({"drama", "comedy"}),
        exclude_item_ids=frozenset({"film-008"}),
        conditions=(AttributeCondition("year", Comparison.GREATER_OR_EQUAL, (1970.0,)),),
    )

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask(filter=wanted, page_size=200))

    eligible = [film for film in world.films[5:] if wanted.allows(film, NOW_MS)]
    assert set(item_ids(answer)) == {film.item_id for film in eligible}


async def test_an_unknown_user_gets_a_full_slate() -> None:
    async with opened(World()) as app:
        answer = await app.recommender.recommend(ask("nobody-knows"))

    assert len(answer.entries) == 10
    assert losses(answer) == set()


async def test_the_same_request_gives_the_same_slate_until_something_happens() -> None:
    async with opened(World()) as app:
        first = await app.recommender.recommend(ask())
        second = await app.recommender.recommend(ask())

    assert item_ids(first) == item_ids(second)
    assert first.recommendation_id != second.recommendation_id


async def test_a_new_event_reaches_the_ranker_with_the_next_request() -> None:
    world = World()

    async with opened(world) as app:
        await app.recommender.recommend(ask())
        world.features.users["ann"] = user("ann", liked=["film-030"])
        await app.recommender.recommend(ask())

    assert [request.history.item_ids[-1] for request in world.ranking.requests] == ["film-004", "film-030"]


async def test_an_anonymous_session_is_served_by_its_own_events() -> None:
    world = World()
    hidden, shown = events(["film-009"], EventType.HIDE), events(["film-011"], EventType.IMPRESSION)
    session = [*events(["film-007"]), *hidden, *shown]

    async with opened(world) as app:
        answer = await app.recommender.recommend(_session(tuple(session), page_size=200))

    assert world.ranking.requests[-1].history.item_ids == ("film-007",)
    assert {"film-007", "film-009"}.isdisjoint(item_ids(answer))
    assert "film-011" in item_ids(answer)
    assert world.features.users_asked == []


async def test_events_of_a_session_are_put_in_order_and_none_lies_in_the_future() -> None:
    world = World()
    late, early = events(["film-007", "film-008"])[::-1]
    future = events(["film-009"])[0]
    timeless = events(["film-010"])[0]._replace(event_time_ms=0)
    session = (late, early, future._replace(event_time_ms=NOW_MS + 10**9), timeless)

    async with opened(world) as app:
        await app.recommender.recommend(_session(session))

    history = world.ranking.requests[-1].history
    assert history.item_ids == ("film-007", "film-008", "film-009", "film-010")
    assert history.times_ms.max() == NOW_MS


async def test_candidates_of_the_caller_are_ranked_instead_of_retrieving() -> None:
    world = World()

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask(candidate_item_ids=("film-020", "not-in-catalogue", "film-021")))

    assert set(item_ids(answer)) == {"film-020", "film-021", "not-in-catalogue"}
    assert world.candidates.requests == []
    assert {source.source for entry in answer.entries for source in entry.sources} == {"caller"}


async def test_candidates_of_the_caller_pass_the_filters_too() -> None:
    world = World()
    wanted = ItemFilter(include_categories=frozenset({"drama"}))

    async with opened(world) as app:
        answer = await app.recommender.recommend(
            ask(candidate_item_ids=("film-000", "film-020", "film-021", "unknown"), filter=wanted)
        )

    assert item_ids(answer) == ["film-020"], "consumed, kept, of another category, without content"


async def test_deleted_and_unknown_items_are_not_recommended() -> None:
    world = World()
    world.features.states["film-010"] = ItemState("film-010", ItemStatus.DELETED)
    del world.features.states["film-011"]

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask(page_size=200))

    assert len(answer.entries) == 53
    assert {"film-010", "film-011"}.isdisjoint(item_ids(answer))


async def test_served_items_are_left_out_where_the_surface_says_so(tmp_path: Path) -> None:
    world = World()
    world.features.users["ann"] = user("ann", served=["film-050", "film-051", "film-052"])
    (tmp_path / "default.yaml").write_text("weights: {click: 1}")
    (tmp_path / "feed.yaml").write_text("weights: {click: 1}\nexclude_latest_served: 2")

    async with opened(world, surfaces_dir=tmp_path) as app:
        everywhere = await app.recommender.recommend(ask(page_size=200))
        feed = await app.recommender.recommend(ask(page_size=200, surface="feed"))

    assert set(item_ids(everywhere)) - set(item_ids(feed)) == {"film-050", "film-051"}


async def test_a_watermark_that_is_not_reached_is_told() -> None:
    async with opened(World()) as app:
        reached = await app.recommender.recommend(ask(min_watermark=Watermark.of(100)))
        ahead = await app.recommender.recommend(ask(min_watermark=Watermark.of(101)))

    assert losses(reached) == set()
    assert losses(ahead) == {("hydrate", "stale")}
    assert len(ahead.entries) == 10


async def test_a_session_with_a_watermark_is_told_when_the_catalogue_is_behind() -> None:
    async with opened(World()) as app:
        answer = await app.recommender.recommend(_session((), min_watermark=Watermark.of(101)))

    assert losses(answer) == {("hydrate", "stale")}


async def test_an_empty_catalogue_gives_an_empty_slate_and_no_error() -> None:
    async with opened(World(films=())) as app:
        answer = await app.recommender.recommend(ask())

    assert answer.entries == ()
    assert answer.next_page_token == ""


async def test_popular_items_fill_a_page_that_retrieval_leaves_short() -> None:
    world = World()
    world.candidates.sources = {"retriever": ("film-040", "film-041")}

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    assert len(answer.entries) == 10
    assert {"film-040", "film-041"} <= {world.ranking.requests[-1].candidates.item_ids[row] for row in (0, 1)}
    assert losses(answer) == set()


async def test_losses_inside_candidate_generation_are_passed_on() -> None:
    world = World()
    world.candidates.degraded = (Degradation("retriever", "no-bundle"),)

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    assert losses(answer) == {("retriever", "no-bundle")}


async def test_no_net_negative_entry_stands_above_a_net_positive_one() -> None:
    world = World()
    world.ranking.logits = {film.item_id: (-5.0, -5.0, 5.0) for film in world.films[::2]}

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask(page_size=200))

    signs = [entry.score >= 0 for entry in answer.entries]
    assert True in signs
    assert False in signs
    assert signs == sorted(signs, reverse=True)


async def test_a_surfaces_quotas_and_limit_shape_what_is_retrieved_and_ranked(tmp_path: Path) -> None:
    world = World()
    (tmp_path / "default.yaml").write_text(
        "weights: {click: 1}\nquotas: {retriever: 30, neighbours: 5}\nranked_candidates: 20"
    )

    async with opened(world, surfaces_dir=tmp_path) as app:
        answer = await app.recommender.recommend(ask())

    counts = {count.component: (count.entered, count.removed) for count in answer.provenance.stage_counts}
    assert world.candidates.requests[-1].quotas == {"retriever": 30, "neighbours": 5}
    assert counts["cut"][0] - counts["cut"][1] == len(world.ranking.requests[-1].candidates) == 20
    assert losses(answer) == set()


def _session(session_events: tuple[Event, ...], **asked: object) -> Query:
    return ask("", session_id="s-1", session_events=session_events, **asked)
