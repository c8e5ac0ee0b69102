"""The offline protocol through the running services, on one bundle, asked as of each request's own moment.

Candidate generation, the ranker's model and the front run in one process. What the log would have held at that moment
comes from the data set: histories, what was consumed, and decayed counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.candidate_generation.app import open_candidate_generation
from services.candidate_generation.settings import CandidateGenerationSettings
from services.recommendation.app import open_recommendation
from services.recommendation.budget import Budget
from services.recommendation.queries import Query
from services.recommendation.recommender import Recommender
from services.recommendation.settings import RecommendationSettings
from services.trainer.candidates import Quotas
from services.trainer.datasets import Dataset
from services.trainer.moments import Moments
from services.trainer.splits import Split
from shared.domain.attributes import AttributeUse
from shared.domain.events import EventType
from shared.domain.history import History
from shared.domain.ranking import RankingRequest, RankingResult, RequestContext
from shared.domain.user_state import ItemChanges, ItemState, ItemStatus, ProjectionStatus, TopItems, TopOrder, UserState
from shared.domain.watermark import Watermark
from shared.kernel.clock import system_clock
from shared.kernel.config import load
from shared.model.bundle import Bundle
from shared.model.ranker import RankerModel
from shared.model.registry import Registry
from tests.fakes_services import FakeFeedback

AT = "w1-0.1"
ENOUGH_MS = 60_000.0


@dataclass
class PastFeatures:
    """Meets `Features` with the data set's own past.

    Attributes:
        dataset, moments: items, and their counts at any moment.
        time_s: the moment of the request that is answered now.
        user: the state of its user.
    """

    dataset: Dataset
    moments: Moments
    time_s: float = 0.0
    user: UserState = field(default_factory=lambda: UserState("", History.empty()))

    async def user_state(
        self, _user_id: str, _min_watermark: Watermark, *, history_limit: int, budget_ms: float
    ) -> UserState:
        """That of the moment's user."""
        del history_limit, budget_ms
        return self.user

    async def items(self, item_ids: Sequence[str], *, include_vectors: bool = False) -> tuple[ItemState, ...]:
        """Items with the counts of the moment."""
        del include_vectors
        rows = self.dataset.items.rows(item_ids)
        popularity, trend = (
            counts.before(rows, self.time_s) for counts in (self.moments.popularity, self.moments.trend)
        )
        return tuple(
            ItemState(item_id, ItemStatus.PRESENT, self.dataset.item_details[row], float(popular), float(rising), AT)
            for item_id, row, popular, rising in zip(item_ids, rows.tolist(), popularity, trend, strict=True)
        )

    async def top_items(
        self, order: TopOrder, *, category: str = "", limit: int = 100, page_token: str = ""
    ) -> TopItems:
        """Nothing: the services poll the lists by the present, and each request here has a moment of its own."""
        del order, category, limit, page_token
        return TopItems((), (), AT)

    async def attributes(self) -> tuple[AttributeUse, ...]:
        """None: nobody filters."""
        return ()

    async def watch_items(self, after: Watermark) -> AsyncIterator[ItemChanges]:
        """The catalogue; it never changes."""
        if not after.positions:
            yield ItemChanges(await self.items(self.dataset.items.ids), (), AT, caught_up=True)
        await asyncio.Event().wait()

    async def status(self) -> ProjectionStatus:
        """Caught up."""
        return ProjectionStatus(AT, AT, caught_up=True, users=0, items=len(self.dataset.items), applied_records=1)


@dataclass(frozen=True)
class ModelRanking:
    """Meets `Ranking` with a bundle's model, without a process between."""

    model: RankerModel

    async def rank(self, request: RankingRequest) -> RankingResult:
        """The model's answer."""
        return self.model.score([request])[0]


@dataclass(frozen=True)
class Asked:
    """What the services answered.

    Attributes:
        lists: (S, k) item rows of the data set, best first; -1 where there was no more.
        latencies_ms: (S,) wall time of each answer.
        degraded: losses of quality by stage and reason that any answer listed.
    """

    lists: npt.NDArray[np.int32]
    latencies_ms: npt.NDArray[np.float64]
    degraded: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Services:
    """The services at work on one bundle."""

    recommender: Recommender
    features: PastFeatures

    async def ask(self, split: Split, k: int, surface: str = "") -> Asked:
        """A page for every scored user of a split, as of the moment of each request."""
        lists = np.full((len(split), k), -1, np.int32)
        latencies, degraded = np.empty(len(split)), set()
        for place in range(len(split)):
            query = self._query(split, place, k, surface)
            began_s = time.perf_counter()
            answer = await self.recommender.recommend(query)
            latencies[place] = (time.perf_counter() - began_s) * 1e3
            found = self.features.dataset.items.rows([entry.item_id for entry in answer.entries])
            lists[place, : len(found)] = found
            degraded |= {(lost.stage, lost.reason) for lost in answer.provenance.degraded}
        return Asked(lists, latencies, frozenset(degraded))

    def _query(self, split: Split, place: int, k: int, surface: str) -> Query:
        events, past = split.interactions, split.histories[place]
        items = self.features.dataset.items.ids
        history = History(
            tuple(items[row] for row in events.item_rows[past].tolist()),
            events.event_types[past].astype(np.int32),
            events.values[past].astype(np.float32),
            np.round(events.times_s[past] * 1000).astype(np.int64),
        )
        user_id = f"user-{place}"
        self.features.time_s = float(split.request_times_s[place])
        self.features.user = UserState(user_id, history, frozenset(history.item_ids), watermark=AT)
        context = RequestContext(time_ms=round(self.features.time_s * 1000))
        return Query(Budget.of(ENOUGH_MS), context, user_id=user_id, page_size=k, surface=surface)


@dataclass(frozen=True)
class Setup:
    """What is measured on what.

    Attributes:
        bundle: that is served.
        split: whose train part counts are known.
        quotas: of the sources, as the trainer measured with.
    """

    bundle: Bundle
    dataset: Dataset
    split: Split
    quotas: Quotas


@asynccontextmanager
async def services_of(setup: Setup, folder: Path, ranked: Sequence[int] = ()) -> AsyncIterator[Services]:
    """The services at work.

    Args:
        setup: what is measured.
        folder: for their state.
        ranked: numbers of candidates; surface `ranked-N` ranks N of them, retrieved in the trainer's proportions, but
            for twice the neighbours: many are among the retrieved, and N must be left after the merge.
    """
    surfaces = folder / "surfaces"
    surfaces.mkdir(parents=True)
    for name, text in _surfaces(setup.bundle.manifest.actions, setup.quotas, ranked).items():
        (surfaces / f"{name}.yaml").write_text(text)
    features = PastFeatures(setup.dataset, Moments.of(setup.split.train, setup.dataset.item_details))
    Registry(str(folder / "registry")).publish(setup.bundle.path)
    own = load(CandidateGenerationSettings, data_dir=folder, source_timeout_ms=ENOUGH_MS)
    async with open_candidate_generation(own, system_clock, features) as candidates:
        await candidates.hosted.readiness.wait_ready()
        while not candidates.bundle_status().version:
            await asyncio.sleep(0.01)
        settings = load(
            RecommendationSettings, data_dir=folder, surfaces_dir=surfaces, target_ms=0, late_ms=0, reserve_slates=0
        )
        ranking = ModelRanking(RankerModel.load(setup.bundle))
        ports = (FakeFeedback(), features, candidates.candidates, ranking)
        async with open_recommendation(settings, system_clock, *ports) as front:
            yield Services(front.recommender, features)


def _surfaces(actions: tuple[int, ...], quotas: Quotas, ranked: Sequence[int]) -> dict[str, str]:
    weights = ", ".join(f"{EventType(action).label}: 1" for action in actions)
    whole = quotas.retrieved + quotas.neighbours
    texts = {"default": _surface(weights, quotas.retrieved, quotas.neighbours, whole)}
    for count in ranked:
        neighbours = round(count * quotas.neighbours / whole)
        texts[f"ranked-{count}"] = _surface(weights, count - neighbours, 2 * neighbours, count)
    return texts


def _surface(weights: str, retrieved: int, neighbours: int, ranked: int) -> str:
    quotas = f"{{retriever: {retrieved}, neighbours: {neighbours}}}"
    return f"weights: {{{weights}}}\nquotas: {quotas}\nranked_candidates: {ranked}\n"
