"""A population with known tastes that lives with the real front, log and feature store, day after day.

Each person likes items of one category, some of another, hardly any of the rest, and better items more. They look at
every entry of their slate, like it or not by a coin that depends on world, person, item and day alone, and never see
again what they liked. Nothing is left to the machine: the same world gives the same days. What is claimed of
exploration is claimed of several worlds, because in a single one luck decides.

Candidates and scores come from the models that a bundle holds, or from two small stand-ins: what is popular, what is of
the liked categories, what is new; and a ranker that believes in categories and in popularity. None knows the tastes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from services.candidate_generation.app import open_candidate_generation
from services.candidate_generation.settings import CandidateGenerationSettings
from services.feature.app import open_feature
from services.feature.settings import FeatureSettings
from services.feedback.app import FeedbackApp, open_feedback
from services.feedback.settings import FeedbackSettings
from services.recommendation.app import open_recommendation
from services.recommendation.budget import Budget
from services.recommendation.identity import RecommendationIds
from services.recommendation.queries import Answer, Query
from services.recommendation.recommender import Recommender
from services.recommendation.settings import RecommendationSettings
from shared.domain.events import Event, EventType
from shared.domain.items import Item
from shared.domain.provenance import Provenance
from shared.domain.ranking import RankingRequest, RankingResult, RequestContext
from shared.domain.retrieval import RetrievalRequest, RetrievalResult, SourceHits
from shared.domain.services import CandidateGeneration, Features, Ranking
from shared.domain.user_state import TopOrder
from shared.domain.watermark import Watermark
from shared.kernel.config import load
from shared.model.bundle import open_bundle
from shared.model.ranker import RankerModel
from shared.model.registry import Registry
from tests.benchmarks.offline_services import ModelRanking

BEGIN_MS, DAY_MS = 1_700_000_000_000, 86_400_000
CATEGORIES = tuple(f"kind-{number}" for number in range(6))
ITEMS, PEOPLE, PAGE = 600, 24, 5
NEWEST, KNOWN = 60, 8
FIRST, SECOND, OTHER, ANYBODY = 0.6, 0.3, 0.04, 0.9
"""Chance that a person likes an item of the best quality: of their category, their second, another; the planted one."""

PLANTED = Item("planted", categories=("something-new",))
"""Nearly everybody would like it, and it is like nothing that anybody has liked."""


def chance(*names: object) -> float:
    """A number from 0 to 1 that depends on these names alone."""
    digest = hashlib.blake2b(repr(names).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def item(number: int) -> Item:
    """One of the catalogue's items."""
    return Item(f"item-{number:03}", categories=(CATEGORIES[number % len(CATEGORIES)],))


def liking(world: int, person: int, liked: Item) -> float:
    """How likely a person of a world likes an item when they see it: the truth, which only this file knows."""
    if liked.item_id == PLANTED.item_id:
        return ANYBODY
    kind = CATEGORIES.index(liked.categories[0])
    taste = {person % 6: FIRST, (person // 6 + person + 1) % 6: SECOND}.get(kind, OTHER)
    return taste * (0.5 + 0.5 * chance("quality", world, liked.item_id))


@dataclass
class WorldRetrieval:
    """Popular items, items of the liked categories, and new ones that nobody has liked."""

    features: Features
    catalogue: dict[str, Item]

    async def retrieve(self, request: RetrievalRequest, *, budget_ms: float) -> RetrievalResult:
        """The sources one behind the other, without what is excluded."""
        del budget_ms
        top = await self.features.top_items(TopOrder.POPULAR, limit=ITEMS)
        kinds = Counter(self.catalogue[name].categories[0] for name in request.history.item_ids)
        liked = {kind for kind, _ in kinds.most_common(2)}
        alike = [name for name, each in self.catalogue.items() if each.categories[0] in liked]
        known = {name for name, count in zip(top.item_ids, top.scores, strict=True) if count >= KNOWN}
        new = [name for name in tuple(self.catalogue)[-NEWEST:] if name not in known]
        drawn = {
            "popular": top.item_ids[:60],
            "interests": sorted(alike, key=lambda name: chance("alike", name, request.seed))[:60],
            "fresh": sorted(self.catalogue, key=lambda name: chance("fresh", name, request.seed))[:20],
            "underexposed": sorted(new, key=lambda name: chance("new", name, request.seed))[:20],
        }
        return _merged({name: drawn[name] for name in request.quotas}, request.filter.exclude_item_ids)


@dataclass
class WorldRanking:
    """Believes that people like more of what they liked, and what others like."""

    catalogue: dict[str, Item]

    async def rank(self, request: RankingRequest) -> RankingResult:
        """The probability of a like: some for the category's share in the history, some for popularity."""
        kinds = Counter(self.catalogue[name].categories[0] for name in request.history.item_ids)
        candidates, seen = request.candidates, max(3, len(request.history))
        shares = np.array([kinds[kind] / seen for kind in candidates.primary_categories], np.float64)
        values = 0.05 + 0.45 * shares + 0.14 * np.log1p(candidates.popularity.astype(np.float64))
        probabilities = np.minimum(values, 0.99).astype(np.float32)[:, None]
        return RankingResult((int(EventType.LIKE),), probabilities, np.empty(0, np.float32), None, "world")


@dataclass
class Days:
    """What happened.

    Attributes:
        rewards: by day: likes for each entry that was shown.
        planted_likes: by day: likes of the planted item.
        planted_shown: by day: slates with the planted item.
    """

    rewards: list[float] = field(default_factory=list)
    planted_likes: list[int] = field(default_factory=list)
    planted_shown: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Size:
    """Of a world: items of the catalogue, people, and entries of a page."""

    items: int = ITEMS
    people: int = PEOPLE
    page: int = PAGE


@dataclass
class Population:
    """People who ask for a slate a day."""

    recommender: Recommender
    feedback: FeedbackApp
    catalogue: dict[str, Item]
    world: int
    size: Size = field(default_factory=Size)
    day: int = 0

    async def live(self, days: int, *, tell: bool = True, plant_on: int = -1) -> Days:
        """So many days, from today on.

        Args:
            days: how many.
            tell: whether likes are recorded.
            plant_on: day on which the planted item comes.
        """
        happened, position = Days(), Watermark()
        for day in range(self.day, self.day + days):
            self.day = day
            if day == plant_on:
                self.catalogue[PLANTED.item_id] = PLANTED
                position = (await self.feedback.intake.upsert_items([PLANTED])).watermark
            slates = []
            for person in range(self.size.people):
                slates.append(await self.recommender.recommend(self._query(person, position)))
                position = await self._logged(slates[-1])
            likes = [like for person, slate in enumerate(slates) for like in self._likes(person, slate)]
            if tell and likes:
                position = (await self.feedback.intake.record_events(likes)).watermark
            happened.rewards.append(len(likes) / (self.size.people * self.size.page))
            happened.planted_likes.append(sum(like.item_id == PLANTED.item_id for like in likes))
            shown = [entry.item_id for slate in slates for entry in slate.entries]
            happened.planted_shown.append(shown.count(PLANTED.item_id))
        return happened

    def now_ms(self) -> int:
        """Noon of the day."""
        return BEGIN_MS + self.day * DAY_MS

    async def _logged(self, answer: Answer) -> Watermark:
        """The position from which on everybody knows that the slate was served."""
        kept = self.recommender.reserve.find(answer.recommendation_id)
        assert kept
        return (await self.feedback.feedback.record_slates([kept.served])).watermark

    def _query(self, person: int, position: Watermark) -> Query:
        context = RequestContext(time_ms=self.now_ms())
        asked = Query(Budget.of(60_000), context, user_id=f"person-{person}", page_size=self.size.page)
        return replace(asked, min_watermark=position)

    def _likes(self, person: int, slate: Answer) -> list[Event]:
        shown = [self.catalogue[entry.item_id] for entry in slate.entries]
        world, day = self.world, self.day
        liked = [
            each for each in shown if chance("coin", world, person, each.item_id, day) < liking(world, person, each)
        ]
        return [
            Event(
                f"{person}-{self.day}-{each.item_id}",
                f"person-{person}",
                each.item_id,
                EventType.LIKE,
                self.now_ms(),
                recommendation_id=slate.recommendation_id,
            )
            for each in liked
        ]


Models = Callable[[Path, Features, dict[str, Item]], AbstractAsyncContextManager[tuple[CandidateGeneration, Ranking]]]
"""Opens what finds and what ranks candidates, from the folder of all state, the feature store and the catalogue."""


@asynccontextmanager
async def stand_ins(
    _folder: Path, features: Features, catalogue: dict[str, Item]
) -> AsyncIterator[tuple[CandidateGeneration, Ranking]]:
    """Those that no training made."""
    yield WorldRetrieval(features, catalogue), WorldRanking(catalogue)


@asynccontextmanager
async def trained_models(
    folder: Path, features: Features, _catalogue: dict[str, Item]
) -> AsyncIterator[tuple[CandidateGeneration, Ranking]]:
    """Candidate generation and ranker of the bundle that the registry in the folder serves."""
    registry = Registry(str(folder / "registry"))
    ranker = RankerModel.load(open_bundle(registry.fetch(registry.current(), folder / "fetched")))
    once = {"top_lists_poll_seconds": 1e6, "category_lists_poll_seconds": 1e6}  # else the machine's speed would tell
    own = load(CandidateGenerationSettings, data_dir=folder, source_timeout_ms=60_000, **once)
    async with open_candidate_generation(own, lambda: BEGIN_MS, features) as candidates:
        await candidates.hosted.readiness.wait_ready()
        while candidates.bundle_status().version != ranker.version:
            await asyncio.sleep(0.01)
        yield candidates.candidates, ModelRanking(ranker)


@asynccontextmanager
async def population(
    folder: Path, surface: str, world: int, size: Size | None = None, models: Models = stand_ins, first_day: int = 0
) -> AsyncIterator[Population]:
    """People on a surface of this configuration.

    Args:
        folder: for all state.
        surface: the text of `default.yaml`.
        world: its number; each has its own qualities, coins and chances.
        size: of the world.
        models: what finds and what ranks candidates.
        first_day: today.
    """
    (folder / "surfaces").mkdir(parents=True, exist_ok=True)
    (folder / "surfaces" / "default.yaml").write_text(surface)
    catalogue = {each.item_id: each for each in map(item, range((size or Size()).items))}
    people: list[Population] = []

    def clock() -> int:
        return people[0].now_ms() if people else BEGIN_MS + first_day * DAY_MS

    async with open_feedback(load(FeedbackSettings, data_dir=folder), clock) as feedback:
        await feedback.intake.upsert_items(list(catalogue.values()))
        own = load(FeatureSettings, data_dir=folder, store="memory")
        async with open_feature(own, clock, feedback.feedback) as feature:
            await feature.hosted.readiness.wait_ready()
            settings = load(
                RecommendationSettings, data_dir=folder, surfaces_dir=folder / "surfaces", target_ms=0, late_ms=0
            )
            async with (
                models(folder, feature.features, catalogue) as found_and_ranked,
                open_recommendation(settings, clock, feedback.feedback, feature.features, *found_and_ranked) as front,
            ):
                seeded = replace(front.recommender, ids=RecommendationIds(clock, np.random.default_rng(world)))
                people.append(Population(seeded, feedback, catalogue, world, size or Size(), first_day))
                yield people[0]


def _merged(sources: dict[str, Sequence[str]], excluded: frozenset[str]) -> RetrievalResult:
    rows: dict[str, int] = {}
    hits = []
    for name, found in sources.items():
        kept = [item_id for item_id in found if item_id not in excluded]
        own = [rows.setdefault(item_id, len(rows)) for item_id in kept]
        scores = np.linspace(1, 0, len(own), endpoint=False, dtype=np.float32)
        hits.append(SourceHits(name, np.array(own, np.int32), scores))
    return RetrievalResult(tuple(rows), tuple(hits), Provenance())
