"""What holds for every slate, whatever the user did, hid and asks for: checked against a brute-force oracle."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommendation.queries import Query
from shared.domain.conditions import AttributeCondition, Comparison, ItemFilter
from shared.domain.user_state import ItemState, ItemStatus
from tests.unit.recommendation.front import GENRES, NOW_MS, World, all_pages, ask, film, item_ids, opened, user

FILMS = 40
IDS = [film(number).item_id for number in range(FILMS)]


@dataclass(frozen=True)
class Case:
    """One user, catalogue and request."""

    liked: list[str]
    hidden: list[str]
    deleted: list[str]
    wanted: ItemFilter
    retrieved: list[str]
    page_size: int
    candidates: tuple[str, ...]

    def world(self) -> World:
        """The services in this case; retrieval honours no filter: the front has to."""
        world = World(films=tuple(map(film, range(FILMS))))
        world.features.users["ann"] = user("ann", liked=self.liked, hidden=self.hidden)
        for item_id in self.deleted:
            world.features.states[item_id] = ItemState(item_id, ItemStatus.DELETED)
        world.candidates.sources = {"retriever": tuple(self.retrieved), "popular": tuple(IDS)}
        world.candidates.catalogue = {}
        return world

    def eligible(self, world: World) -> set[str]:
        """Every item that may be shown, found by looking at all of them."""
        given = set(self.candidates or IDS)
        forbidden = {*self.liked, *self.hidden, *self.deleted}
        return {item.item_id for item in world.films if self.wanted.allows(item, NOW_MS)} & given - forbidden


some_ids = st.lists(st.sampled_from(IDS), max_size=15, unique=True)
conditions = st.builds(
    AttributeCondition,
    st.just("year"),
    st.sampled_from([Comparison.LESS, Comparison.GREATER_OR_EQUAL, Comparison.NOT_EQUAL]),
    st.tuples(st.floats(1950, 1990)),
)
genres = st.frozensets(st.sampled_from(GENRES), max_size=2)
filters = st.builds(ItemFilter, genres, genres, some_ids.map(frozenset), st.lists(conditions, max_size=2).map(tuple))
cases = st.builds(
    Case,
    liked=some_ids,
    hidden=some_ids,
    deleted=some_ids,
    wanted=filters,
    retrieved=some_ids,
    page_size=st.integers(1, 50),
    candidates=st.just(()) | some_ids.map(tuple),
)


@given(cases)
async def test_a_slate_holds_only_what_may_be_shown_and_as_much_of_it_as_fits(case: Case) -> None:
    world = case.world()

    async with opened(world) as app:
        answer = await app.recommender.recommend(_query(case))

    eligible = case.eligible(world)
    assert len(set(item_ids(answer))) == len(answer.entries)
    assert set(item_ids(answer)) <= eligible
    assert len(answer.entries) == min(case.page_size, len(eligible))


@given(cases)
async def test_pages_together_show_everything_that_may_be_shown_exactly_once(case: Case) -> None:
    world = case.world()

    async with opened(world) as app:
        pages = await all_pages(app.recommender, _query(case))

    shown = [item_id for page in pages for item_id in item_ids(page)]
    assert len(shown) == len(set(shown))
    assert set(shown) == case.eligible(world)
    assert [entry.position for page in pages for entry in page.entries] == list(range(len(shown)))


@given(cases)
async def test_every_explanation_recomputes_its_score(case: Case) -> None:
    async with opened(case.world()) as app:
        answer = await app.recommender.recommend(_query(case, explain=True))

    for entry in answer.entries:
        assert entry.explanation is not None
        score = sum(action.probability * action.weight for action in entry.explanation.actions)
        for _, factor in entry.explanation.adjustments:
            score *= factor
        assert score == pytest.approx(entry.score, abs=1e-5)


def _query(case: Case, **asked: object) -> Query:
    return ask(filter=case.wanted, page_size=case.page_size, candidate_item_ids=case.candidates, **asked)
