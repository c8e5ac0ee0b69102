"""What holds for every slate, whatever the user did, hid and asks for: checked against a brute-force oracle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.recommendation.app import RecommendationApp
from services.recommendation.queries import Query
from shared.domain.conditions import AttributeCondition, Comparison, ItemFilter
from shared.domain.events import EventType
from shared.domain.items import Item
from shared.domain.user_state import ItemState, ItemStatus
from tests.fakes_services import down
from tests.unit.recommendation.front import GENRES, NOW_MS, World, all_pages, ask, events, film, item_ids, opened, user

FILMS = 40
IDS = [film(number).item_id for number in range(FILMS)]
FEW, ALL = {"retriever": 5, "popular": 4}, {"retriever": FILMS, "popular": FILMS}
"""Quotas: fewer than a page, so that whoever is asked once comes short; and enough for all pages."""


@dataclass(frozen=True)
class Case:
    """One user or session, catalogue, surface and request.

    Attributes:
        served: of the latest slates, latest first; the surface does not want to see the first `unseen` of them again.
        blocked: what each rule of the surface blocks: ids, categories, or those in colour.
    """

    anonymous: bool
    liked: list[str]
    hidden: list[str]
    served: list[str]
    unseen: int
    deleted: list[str]
    over: list[str]
    blocked: list[dict[str, object]]
    wanted: ItemFilter
    retrieved: list[str]
    page_size: int
    candidates: tuple[str, ...]

    def world(self) -> World:
        """The services in this case; retrieval honours nothing but exclusions: the front has to."""
        world = World(films=tuple(self.film(number) for number in range(FILMS)))
        world.features.users["ann"] = user("ann", liked=self.liked, hidden=self.hidden, served=self.served)
        for item_id in self.deleted:
            world.features.states[item_id] = ItemState(item_id, ItemStatus.DELETED)
        world.candidates.sources = {"retriever": tuple(self.retrieved), "popular": tuple(IDS)}
        world.candidates.catalogue = {}
        return world

    def film(self, number: int) -> Item:
        """One item, whose time may be over or not have come yet."""
        item = film(number)
        if item.item_id in self.over[::2]:
            return replace(item, available_until_ms=NOW_MS)
        return replace(item, available_from_ms=NOW_MS + 1) if item.item_id in self.over else item

    def eligible(self, world: World) -> set[str]:
        """Every item that may be shown, found by looking at all of them."""
        given = set(self.candidates or IDS)
        forbidden = {*self.liked, *self.hidden, *self.deleted, *self.served[: self.unseen]}
        return {
            item.item_id
            for item in world.films
            if self.wanted.allows(item, NOW_MS) and not any(_blocks(rule, item) for rule in self.blocked)
        } & given - forbidden

    def query(self, **asked: object) -> Query:
        """The request."""
        if not self.anonymous:
            return self._ask("ann", **asked)
        told = [*events(self.liked), *events(self.hidden, EventType.HIDE)]
        shown = events(reversed(self.served), EventType.IMPRESSION)
        return self._ask("", session_id="s", session_events=(*told, *shown), **asked)

    def _ask(self, user_id: str, **asked: object) -> Query:
        fixed = {"filter": self.wanted, "page_size": self.page_size, "candidate_item_ids": self.candidates}
        return ask(user_id, **fixed, **asked)  # type: ignore[arg-type]

    @asynccontextmanager
    async def running(self, world: World, quotas: dict[str, int]) -> AsyncIterator[RecommendationApp]:
        """The front with this surface."""
        rules = [{"name": f"rule-{number}", "do": "block", **rule} for number, rule in enumerate(self.blocked)]
        surface = {
            "weights": {"click": 1, "like": 5, "hide": -20},
            "quotas": quotas,
            "exclude_latest_served": self.unseen,
            "rules": rules,
        }
        with TemporaryDirectory() as folder:
            (Path(folder) / "default.yaml").write_text(yaml.safe_dump(surface))
            async with opened(world, surfaces_dir=Path(folder)) as app:
                yield app


def _blocks(rule: dict[str, object], item: Item) -> bool:
    match rule:
        case {"items": list(ids)}:
            return item.item_id in ids
        case {"categories": list(categories)}:
            return not set(categories).isdisjoint(item.categories)
        case _:
            return bool(item.attributes["colour"])


some_ids = st.lists(st.sampled_from(IDS), max_size=15, unique=True)
numbers = st.builds(
    AttributeCondition,
    st.just("year"),
    st.sampled_from([Comparison.LESS, Comparison.GREATER_OR_EQUAL, Comparison.NOT_EQUAL]),
    st.tuples(st.floats(1950, 1990)),
)
sets = st.builds(
    AttributeCondition,
    st.just("year"),
    st.sampled_from([Comparison.IN, Comparison.NOT_IN]),
    st.lists(st.integers(1950, 1990).map(float), min_size=1, max_size=20).map(tuple),
)
truths = st.builds(AttributeCondition, st.just("colour"), st.just(Comparison.EQUAL), st.tuples(st.booleans()))
genres = st.frozensets(st.sampled_from(GENRES), max_size=2)
filters = st.builds(
    ItemFilter, genres, genres, some_ids.map(frozenset), st.lists(numbers | sets | truths, max_size=2).map(tuple)
)
blocks = st.one_of(
    some_ids.filter(bool).map(lambda ids: {"items": ids}),
    st.sampled_from(GENRES).map(lambda genre: {"categories": [genre]}),
    st.just({"attributes": [{"name": "colour", "is": "equal", "values": [True]}]}),
)
cases = st.builds(
    Case,
    anonymous=st.booleans(),
    liked=some_ids,
    hidden=some_ids,
    served=some_ids,
    unseen=st.integers(0, 10),
    deleted=some_ids,
    over=some_ids,
    blocked=st.lists(blocks, max_size=2),
    wanted=filters,
    retrieved=some_ids,
    page_size=st.integers(1, 50),
    candidates=st.just(()) | some_ids.map(tuple),
)


@given(cases)
async def test_a_slate_holds_only_what_may_be_shown_and_as_much_of_it_as_fits(case: Case) -> None:
    world = case.world()

    async with case.running(world, FEW) as app:
        answer = await app.recommender.recommend(case.query())

    eligible = case.eligible(world)
    assert len(set(item_ids(answer))) == len(answer.entries)
    assert set(item_ids(answer)) <= eligible
    assert len(answer.entries) == min(case.page_size, len(eligible))


@given(cases, st.integers(1, 12))
async def test_without_candidate_generation_a_slate_holds_as_much_of_what_may_be_shown(case: Case, listed: int) -> None:
    world = case.world()
    world.candidates.error = down("candidate-generation")
    world.features.most_listed = listed

    async with case.running(world, FEW) as app:
        answer = await app.recommender.recommend(case.query())

    eligible = case.eligible(world)
    assert set(item_ids(answer)) <= eligible
    assert len(set(item_ids(answer))) == min(case.page_size, len(eligible))


@given(cases)
async def test_pages_together_show_everything_that_may_be_shown_exactly_once(case: Case) -> None:
    world = case.world()

    async with case.running(world, ALL) as app:
        pages = await all_pages(app.recommender, case.query())

    shown = [item_id for page in pages for item_id in item_ids(page)]
    assert len(shown) == len(set(shown))
    assert set(shown) == case.eligible(world)
    assert [entry.position for page in pages for entry in page.entries] == list(range(len(shown)))


@given(cases)
async def test_every_explanation_recomputes_its_score(case: Case) -> None:
    async with case.running(case.world(), ALL) as app:
        answer = await app.recommender.recommend(case.query(explain=True))

    for entry in answer.entries:
        assert entry.explanation is not None
        score = sum(action.probability * action.weight for action in entry.explanation.actions)
        for _, factor in entry.explanation.adjustments:
            score *= factor
        assert score == pytest.approx(entry.score, abs=1e-5)
