"""What holds for every look-up, whatever is asked of it: checked against a look at all items."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import strategies as st

from services.recommendation.queries import Listing, Query
from tests.unit.recommendation.front import GENRES, World, ask
from tests.unit.recommendation.test_slate_properties import IDS, Case, cases


@dataclass(frozen=True)
class LookUp:
    """A catalogue, the order in which its items come, and a look-up by nobody or by a user who hid some.

    Attributes:
        case: what is deleted, over, blocked and wanted.
        order: all items, best first.
        listed: items of one list of trending items at most.
        seeds: what similar items are asked for.
    """

    case: Case
    order: list[str]
    listed: int
    seeds: list[str]

    def world(self) -> World:
        """The services; neither retrieval nor the lists know any filter: the front has to."""
        world = self.case.world()
        world.features.most_listed = self.listed
        trends = {item_id: float(len(IDS) - place) for place, item_id in enumerate(self.order)}
        states = world.features.states
        world.features.states = {item_id: replace(state, trend=trends[item_id]) for item_id, state in states.items()}
        world.candidates.sources = {"similar": tuple(self.order), "search": tuple(self.order)}
        return world

    def expected(self, world: World, *unwanted: str) -> list[str]:
        """The page, found by looking at all items in order."""
        eligible = self.case.eligible(world)
        return [item_id for item_id in self.order if item_id in eligible and item_id not in unwanted]

    def query(self, user_id: str = "") -> Query:
        """The look-up."""
        return ask(user_id, filter=self.case.wanted, page_size=self.case.page_size)


anonymous = cases.map(lambda case: replace(case, liked=[], hidden=[], served=[], unseen=0, candidates=()))
look_ups = st.builds(
    LookUp, anonymous, st.permutations(IDS), st.integers(1, 8), st.lists(st.sampled_from(IDS), min_size=1, max_size=5)
)


def ids_of(listing: Listing) -> list[str]:
    """The list's items in order."""
    return [entry.item_id for entry in listing.entries]


def falls(listing: Listing) -> bool:
    """Whether no entry is worth more than one above it."""
    scores = [entry.score for entry in listing.entries]
    return scores == sorted(scores, reverse=True)


@given(look_ups)
async def test_trending_items_are_the_first_that_may_be_shown_of_all_that_trend(look_up: LookUp) -> None:
    world = look_up.world()

    async with look_up.case.running(world, {"popular": 5}) as app:
        listing = await app.recommender.trending(look_up.query(), "")

    assert ids_of(listing) == look_up.expected(world)[: look_up.case.page_size]
    assert falls(listing)
    assert listing.provenance.degraded == ()


@given(look_ups, st.sampled_from(GENRES))
async def test_trending_items_of_a_category_are_the_first_of_it_that_may_be_shown(look_up: LookUp, genre: str) -> None:
    world = look_up.world()
    others = [item.item_id for item in world.films if genre not in item.categories]

    async with look_up.case.running(world, {"popular": 5}) as app:
        listing = await app.recommender.trending(look_up.query(), genre)

    assert ids_of(listing) == look_up.expected(world, *others)[: look_up.case.page_size]


@given(look_ups)
async def test_similar_items_are_the_first_that_may_be_shown_of_all_that_are_similar(look_up: LookUp) -> None:
    world = look_up.world()

    async with look_up.case.running(world, {"popular": 5}) as app:
        listing = await app.recommender.similar(look_up.query(), look_up.seeds)

    assert ids_of(listing) == look_up.expected(world, *look_up.seeds)[: look_up.case.page_size]
    assert falls(listing)


@given(look_ups)
async def test_found_items_are_the_first_that_may_be_shown_of_all_that_match(look_up: LookUp) -> None:
    world = look_up.world()

    async with look_up.case.running(world, {"popular": 5}) as app:
        found = await app.recommender.search(look_up.query(), "words")

    assert ids_of(found) == look_up.expected(world)[: look_up.case.page_size]
    assert falls(found)


@given(look_ups, st.lists(st.sampled_from(IDS), max_size=30, unique=True))
async def test_a_users_page_of_found_items_is_full_while_anything_else_matches(
    look_up: LookUp, hidden: list[str]
) -> None:
    look_up = replace(look_up, case=replace(look_up.case, hidden=hidden))
    world = look_up.world()

    async with look_up.case.running(world, {"popular": 5}) as app:
        personal = await app.recommender.search(look_up.query("ann"), "words")

    expected = look_up.expected(world)
    assert set(ids_of(personal)) <= set(expected)
    assert len(ids_of(personal)) == min(look_up.case.page_size, len(expected))
