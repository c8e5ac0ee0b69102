"""A front over fakes: a catalogue of films, three sources, and every service with a switch that breaks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from services.recommendation.app import RecommendationApp, open_recommendation
from services.recommendation.budget import Budget
from services.recommendation.queries import Answer, Query
from services.recommendation.recommender import Recommender
from services.recommendation.settings import RecommendationSettings
from shared.domain.events import Event, EventType
from shared.domain.history import History
from shared.domain.items import Item
from shared.domain.ranking import RequestContext
from shared.domain.user_state import UserState
from tests.fakes_services import FakeCandidateGeneration, FakeFeatures, FakeFeedback, FakeRanking

NOW_MS = 1_700_000_000_000
GENRES = ("drama", "comedy", "crime", "war")


def film(number: int) -> Item:
    """One item of the catalogue: a genre out of four, a director out of ten, a year."""
    return Item(
        item_id=f"film-{number:03}",
        title=f"Film {number}",
        creator_id=f"director-{number % 10}",
        categories=(GENRES[number % 4],),
        attributes={"year": 1950.0 + number, "colour": number % 2 == 0},
        created_ms=NOW_MS - number * 86_400_000,
    )


def events(item_ids: Iterable[str], kind: EventType = EventType.LIKE, user_id: str = "ann") -> list[Event]:
    """One event an item, a minute apart, the last one a minute ago."""
    names = list(item_ids)
    return [
        Event(f"event-{name}", user_id, name, int(kind), NOW_MS - (len(names) - place) * 60_000)
        for place, name in enumerate(names)
    ]


def user(user_id: str, liked: Iterable[str] = (), hidden: Iterable[str] = (), served: Iterable[str] = ()) -> UserState:
    """A user who liked these items."""
    history = events(liked, user_id=user_id)
    return UserState(
        user_id,
        History.of(history),
        consumed_item_ids=frozenset(event.item_id for event in history),
        hidden_item_ids=frozenset(hidden),
        served_item_ids=tuple(served),
        category_affinities={"drama": 0.7, "war": 0.3},
    )


@dataclass
class World:
    """The services behind the front and the time."""

    films: tuple[Item, ...] = field(default_factory=lambda: tuple(map(film, range(60))))
    features: FakeFeatures = field(init=False)
    candidates: FakeCandidateGeneration = field(init=False)
    ranking: FakeRanking = field(default_factory=FakeRanking)
    feedback: FakeFeedback = field(default_factory=FakeFeedback)
    now_ms: int = NOW_MS

    def __post_init__(self) -> None:
        ids = [item.item_id for item in self.films]
        self.features = FakeFeatures.of(self.films)
        self.features.users["ann"] = user("ann", liked=ids[:5])
        self.candidates = FakeCandidateGeneration(
            sources={"retriever": tuple(ids[:40]), "neighbours": tuple(ids[20:50]), "popular": tuple(ids)},
            catalogue={item.item_id: item for item in self.films},
        )

    def clock(self) -> int:
        """The present, as set."""
        return self.now_ms

    def item(self, item_id: str) -> Item:
        """One film."""
        return self.candidates.catalogue[item_id]


def ask(user_id: str = "ann", *, budget_ms: float = 60_000, **asked: object) -> Query:
    """A query with plenty of time."""
    context = RequestContext(time_ms=NOW_MS)
    return Query(Budget.of(budget_ms), context, user_id=user_id, **asked)  # type: ignore[arg-type]


@asynccontextmanager
async def opened(world: World, **settings: object) -> AsyncIterator[RecommendationApp]:
    """The front over a world, as its composition root builds it. The popular items are remembered only when asked."""
    chosen = RecommendationSettings(_env_file=None, **{"popular_refresh_seconds": 3_600, **settings})  # type: ignore[arg-type]
    async with open_recommendation(
        chosen, world.clock, world.feedback, world.features, world.candidates, world.ranking
    ) as app:
        yield app


async def all_pages(recommender: Recommender, first: Query) -> list[Answer]:
    """The first page and every page after it."""
    return await pages_after(recommender, first, await recommender.recommend(first))


async def pages_after(recommender: Recommender, first: Query, answer: Answer) -> list[Answer]:
    """An answered first page and every page after it."""
    pages = [answer]
    while pages[-1].next_page_token:
        token = pages[-1].next_page_token
        pages.append(await recommender.recommend(replaced(first, page_token=token)))
    return pages


def replaced(query: Query, **changes: object) -> Query:
    """The same query but for these."""
    return replace(query, **changes)  # type: ignore[arg-type]


def item_ids(answer: Answer) -> list[str]:
    """The page's items in order."""
    return [entry.item_id for entry in answer.entries]


def losses(answer: Answer) -> set[tuple[str, str]]:
    """Stage and reason of every loss of quality."""
    return {(lost.stage, lost.reason) for lost in answer.provenance.degraded}
