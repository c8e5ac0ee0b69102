"""Plain lists: similar, trending and found items."""

from __future__ import annotations

from services.recommendation.budget import Budget
from services.recommendation.queries import Listing
from services.recommendation.refreshing import refreshed
from shared.domain.conditions import ItemFilter
from shared.domain.history import History
from shared.domain.provenance import Degradation
from shared.domain.retrieval import RetrievalRequest
from shared.domain.user_state import ItemState, ItemStatus, TopItems
from tests.fakes_services import down
from tests.unit.recommendation.front import NOW_MS, World, ask, opened, replaced, user

DRAMA = ItemFilter(include_categories=frozenset({"drama"}))


def searchable() -> World:
    """A world whose candidate generation also finds similar items and words."""
    world = World()
    ids = [film.item_id for film in world.films]
    world.candidates.sources |= {"similar": tuple(ids[10:40]), "search": tuple(ids[::-3])}
    return world


def ids_of(listing: Listing) -> list[str]:
    """The list's items in order."""
    return [entry.item_id for entry in listing.entries]


def losses_of(listing: Listing) -> set[tuple[str, str]]:
    """Stage and reason of each loss."""
    return {(lost.stage, lost.reason) for lost in listing.provenance.degraded}


async def test_similar_items_come_in_the_sources_order_with_its_scores() -> None:
    world = searchable()

    async with opened(world) as app:
        listing = await app.recommender.similar(ask(""), ["film-001", "film-001"])

    assert ids_of(listing) == [f"film-{number:03}" for number in range(10, 20)]
    assert [entry.score for entry in listing.entries] == sorted(
        (entry.score for entry in listing.entries), reverse=True
    )
    assert world.candidates.requests[-1].seed_item_ids == ("film-001",)
    assert set(world.candidates.requests[-1].quotas) == {"similar"}
    assert (listing.provenance.index_version, losses_of(listing)) == ("test/annoy", set())


async def test_the_asked_items_are_not_similar_to_themselves() -> None:
    world = searchable()
    world.candidates.result = await world.candidates.retrieve(_everything(), budget_ms=1)

    async with opened(world) as app:
        listing = await app.recommender.similar(ask("", page_size=200), ["film-010", "film-011"])

    assert {"film-010", "film-011"}.isdisjoint(ids_of(listing))


async def test_similar_items_pass_the_filter() -> None:
    async with opened(searchable()) as app:
        listing = await app.recommender.similar(ask("", filter=DRAMA, page_size=200), ["film-001"])

    assert ids_of(listing) == [f"film-{number:03}" for number in range(12, 40, 4)]


async def test_a_deleted_item_is_not_similar_to_anything() -> None:
    world = searchable()
    world.features.states["film-010"] = ItemState("film-010", ItemStatus.DELETED)

    async with opened(world) as app:
        listing = await app.recommender.similar(ask(""), ["film-001"])

    assert ids_of(listing) == [f"film-{number:03}" for number in range(11, 21)]


async def test_without_candidate_generation_popular_items_of_the_same_categories_are_similar() -> None:
    world = searchable()
    world.candidates.error = down("candidate-generation")

    async with opened(world) as app:
        listing = await app.recommender.similar(ask(""), ["film-004", "film-008"])

    assert losses_of(listing) == {("retrieve", "unavailable")}
    assert ids_of(listing) == [f"film-{number:03}" for number in (0, 12, 16, 20, 24, 28, 32, 36, 40, 44)]


async def test_an_index_without_a_bundle_is_as_good_as_none() -> None:
    world = searchable()
    world.candidates.sources["similar"] = ()
    world.candidates.degraded = (Degradation("similar", "no-bundle", "no bundle is loaded yet"),)

    async with opened(world) as app:
        listing = await app.recommender.similar(ask(""), ["film-004"])

    assert losses_of(listing) == {("retrieve", "no-bundle")}
    assert len(listing.entries) == 10


async def test_trending_items_come_by_their_trend_of_one_category_or_of_all() -> None:
    async with opened(World()) as app:
        everything = await app.recommender.trending(ask(""), "")
        dramas = await app.recommender.trending(ask(""), "drama")

    assert ids_of(everything) == [f"film-{number:03}" for number in range(10)]
    assert ids_of(dramas) == [f"film-{number:03}" for number in range(0, 40, 4)]
    assert everything.provenance.watermark == "w1-0.100"
    assert everything.entries[0].score == 30.0


async def test_trending_items_pass_the_filter_down_to_the_last_eligible_one() -> None:
    wanted = ItemFilter(exclude_item_ids=frozenset(f"film-{number:03}" for number in range(52)))

    async with opened(World()) as app:
        listing = await app.recommender.trending(ask("", filter=wanted), "")

    assert ids_of(listing) == [f"film-{number:03}" for number in range(52, 60)]


async def test_when_the_time_is_over_a_short_page_of_trending_items_says_so() -> None:
    world, now_s = World(), [0.0]
    world.features.most_listed = 5
    read = world.features.top_items

    async def slowly(*arguments: object, **options: object) -> TopItems:
        now_s[0] += 0.1
        return await read(*arguments, **options)  # type: ignore[arg-type]

    world.features.top_items = slowly  # type: ignore[method-assign]
    wanted = ItemFilter(exclude_item_ids=frozenset(f"film-{number:03}" for number in range(50)))
    async with opened(world) as app:
        query = replaced(ask("", filter=wanted), budget=Budget.of(500, lambda: now_s[0]))
        listing = await app.recommender.trending(query, "")

    assert listing.entries == ()
    assert losses_of(listing) == {("retrieve", "deadline")}


async def test_without_the_feature_store_what_was_popular_last_is_trending() -> None:
    world = World()

    async with opened(world) as app:
        assert await refreshed(app.recommender.lookups.ports.features, app.recommender.lookups.memory)
        world.features.error = down("feature")
        everything = await app.recommender.trending(ask(""), "")
        dramas = await app.recommender.trending(ask(""), "drama")

    assert losses_of(everything) == {("retrieve", "unavailable"), ("hydrate-items", "unavailable")}
    assert ids_of(everything) == [f"film-{number:03}" for number in range(10)]
    assert ids_of(dramas) == [f"film-{number:03}" for number in range(0, 40, 4)]


async def test_words_find_items_in_the_order_of_the_match() -> None:
    world = searchable()

    async with opened(world) as app:
        listing = await app.recommender.search(ask(""), "some words")

    assert ids_of(listing) == [f"film-{number:03}" for number in range(59, 29, -3)]
    assert world.candidates.requests[-1].query_text == "some words"
    assert world.ranking.requests == []


async def test_found_items_pass_the_filter_for_everybody_and_for_a_user() -> None:
    async with opened(searchable()) as app:
        everybody = await app.recommender.search(ask("", filter=DRAMA, page_size=200), "some words")
        personal = await app.recommender.search(ask("ann", filter=DRAMA, page_size=200), "some words")

    dramas = {f"film-{number:03}" for number in range(59, -1, -3) if number % 4 == 0}
    assert set(ids_of(everybody)) == set(ids_of(personal)) == dramas


async def test_with_a_user_the_matches_come_in_the_users_own_order() -> None:
    world = searchable()
    world.ranking.logits = {"film-005": (9.0, 9.0, -9.0)}
    world.features.users["ann"] = user("ann", liked=["film-008"], hidden=["film-059"])

    async with opened(world) as app:
        listing = await app.recommender.search(ask("ann", page_size=200), "some words")

    assert ids_of(listing)[0] == "film-005"
    assert "film-008" in ids_of(listing), "what was consumed may be searched for"
    assert "film-059" not in ids_of(listing), "what was hidden may not"
    assert listing.provenance.model_version == "test-bundle"


async def test_without_the_ranker_a_users_matches_come_in_the_order_of_the_match() -> None:
    world = searchable()
    world.ranking.error = down("ranking")

    async with opened(world) as app:
        listing = await app.recommender.search(ask("ann"), "some words")

    assert losses_of(listing) == {("rank", "unavailable")}
    assert ids_of(listing) == [f"film-{number:03}" for number in range(59, 29, -3)]


async def test_without_candidate_generation_nothing_is_found_and_that_is_said() -> None:
    world = searchable()
    world.candidates.error = down("candidate-generation")

    async with opened(world) as app:
        listing = await app.recommender.search(ask("ann"), "some words")

    assert listing.entries == ()
    assert losses_of(listing) == {("retrieve", "unavailable")}


def _everything() -> RetrievalRequest:
    return RetrievalRequest(History.empty(), NOW_MS)
