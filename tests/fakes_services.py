"""Hand-written stand-ins for the services' ports, in memory, with a switch that makes each of them fail."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from shared.domain.attributes import AttributeKind, AttributeUse, kind_of
from shared.domain.bundles import TrainedBundle
from shared.domain.conditions import available
from shared.domain.event_log import LogBatch, LogRecord
from shared.domain.events import EventType
from shared.domain.history import History
from shared.domain.intake import Recorded
from shared.domain.items import Item
from shared.domain.log_replay import LogReplay
from shared.domain.provenance import Degradation, Provenance
from shared.domain.ranking import RankingRequest, RankingResult, ScoreParts
from shared.domain.retrieval import RetrievalRequest, RetrievalResult, SourceHits
from shared.domain.services import TOP_ITEMS_LISTED
from shared.domain.slates import ServedSlate
from shared.domain.user_state import (
    ItemChanges,
    ItemState,
    ItemStatus,
    ProjectionStatus,
    TopItems,
    TopOrder,
    UserState,
)
from shared.domain.watermark import Watermark
from shared.kernel.errors import ErrorReason, ServiceError


def down(name: str) -> ServiceError:
    """The error of a service that does not answer."""
    return ServiceError(ErrorReason.DEPENDENCY_UNAVAILABLE, f"{name} does not answer", metadata={"dependency": name})


@dataclass
class Outage:
    """A service that can be made to fail.

    Attributes:
        error: raised by every call while it is set.
        frozen: every call waits for ever, as at a stopped process.
        delay_s: every call that comes now is answered so much later.
        calls: how many calls came.
        reached: set by the first call.
    """

    error: Exception | None = None
    frozen: bool = False
    delay_s: float = 0.0
    calls: int = 0
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self) -> None:
        """Count the call; fail as told."""
        self.calls += 1
        self.reached.set()
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error
        if self.frozen:
            await asyncio.Event().wait()


@dataclass
class FakeFeatures(Outage):
    """User and item state in dictionaries.

    Attributes:
        users_asked: whose state was asked for.
        wrong_count: one item too few is given.
        most_listed: items that one list of top items has at most.
        replay: of the log, while it goes on.
    """

    users: dict[str, UserState] = field(default_factory=dict)
    states: dict[str, ItemState] = field(default_factory=dict)
    watermark: str = "w1-0.100"
    wrong_count: bool = False
    most_listed: int = TOP_ITEMS_LISTED
    users_asked: list[str] = field(default_factory=list)
    replay: LogReplay | None = None

    @classmethod
    def of(cls, items: Sequence[Item]) -> FakeFeatures:
        """A catalogue; earlier items are more popular."""
        count = len(items)
        return cls(
            states={
                item.item_id: ItemState(
                    item.item_id,
                    ItemStatus.PRESENT,
                    item,
                    popularity=float(count - place),
                    trend=float(count - place) / 2,
                    updated_watermark=f"w1-0.{place + 1}",
                    first_seen_ms=1,
                )
                for place, item in enumerate(items)
            }
        )

    async def user_state(
        self, user_id: str, min_watermark: Watermark, *, history_limit: int, budget_ms: float
    ) -> UserState:
        """The stored state; an unknown user's is empty."""
        self.users_asked.append(user_id)
        await self.answer()
        state = self.users.get(user_id) or UserState(user_id, History.empty())
        stale = not Watermark.parse(self.watermark).covers(min_watermark)
        return replace(state, history=state.history.latest(history_limit), watermark=self.watermark, stale=stale)

    async def items(self, item_ids: Sequence[str], *, include_vectors: bool = False) -> tuple[ItemState, ...]:
        """The states; unknown ones NOT_FOUND."""
        await self.answer()
        states = tuple(self.states.get(each) or ItemState(each, ItemStatus.NOT_FOUND) for each in item_ids)
        return states[:-1] if self.wrong_count else states

    async def top_items(
        self, order: TopOrder, *, category: str = "", limit: int = 100, page_token: str = ""
    ) -> TopItems:
        """By popularity or trend; a token is the place where the page before it ended."""
        await self.answer()
        kept = [state for state in self.states.values() if state.item is not None]
        if category:
            kept = [state for state in kept if state.item is not None and category in state.item.categories]

        def key(state: ItemState) -> float:
            return state.trend if order is TopOrder.TRENDING else state.popularity

        kept.sort(key=lambda state: (-key(state), state.item_id))
        first = int(page_token or 0)
        behind = first + min(limit, self.most_listed)
        return TopItems(
            tuple(state.item_id for state in kept[first:behind]),
            tuple(key(state) for state in kept[first:behind]),
            self.watermark,
            str(behind) if behind < len(kept) else "",
        )

    async def attributes(self) -> tuple[AttributeUse, ...]:
        """Those of the present items."""
        await self.answer()
        uses: dict[str, Counter[AttributeKind]] = {}
        for state in self.states.values():
            for name, value in state.item.attributes.items() if state.item else ():
                uses.setdefault(name, Counter())[kind_of(value)] += 1
        return tuple(AttributeUse(name, dict(counts)) for name, counts in uses.items())

    async def watch_items(self, after: Watermark) -> AsyncIterator[ItemChanges]:
        """The catalogue once."""
        await self.answer()
        yield ItemChanges(tuple(self.states.values()), (), self.watermark, caught_up=True)

    async def status(self) -> ProjectionStatus:
        """Caught up, unless it replays."""
        await self.answer()
        return ProjectionStatus(
            self.watermark,
            self.watermark,
            caught_up=self.replay is None,
            users=len(self.users),
            items=len(self.states),
            applied_records=100,
            replay=self.replay,
        )


@dataclass
class FakeCandidateGeneration(Outage):
    """Gives the catalogue's items in a fixed order, split over sources, filtered as asked.

    Attributes:
        sources: name of each source and the items that it gives, best first.
        result: given instead of anything else when set.
    """

    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    catalogue: dict[str, Item] = field(default_factory=dict)
    degraded: tuple[Degradation, ...] = ()
    result: RetrievalResult | None = None
    requests: list[RetrievalRequest] = field(default_factory=list)

    async def retrieve(self, request: RetrievalRequest, *, budget_ms: float) -> RetrievalResult:
        """The merged sources: the best of each first."""
        self.requests.append(request)
        await self.answer()
        if self.result is not None:
            return self.result
        lists = {name: self._allowed(name, request) for name in self.sources}
        longest = max(map(len, lists.values()), default=0)
        merged = [given[place] for place in range(longest) for given in lists.values() if place < len(given)]
        rows = {item_id: row for row, item_id in enumerate(dict.fromkeys(merged))}
        hits = tuple(
            SourceHits(
                name,
                np.array([rows[item_id] for item_id in given], np.int32),
                np.array([1 / (place + 1) for place in range(len(given))], np.float32),
            )
            for name, given in lists.items()
        )
        return RetrievalResult(tuple(rows), hits, Provenance(index_version="test/annoy", degraded=self.degraded))

    def _allowed(self, source: str, request: RetrievalRequest) -> list[str]:
        quota = request.quotas.get(source, 0) if request.quotas else len(self.sources[source])
        allowed = [item_id for item_id in self.sources[source] if self._is_allowed(item_id, request)]
        return allowed[:quota]

    def _is_allowed(self, item_id: str, request: RetrievalRequest) -> bool:
        item = self.catalogue.get(item_id)
        if item_id in request.filter.exclude_item_ids or item_id in request.seed_item_ids:
            return False
        return item is None or (available(item, request.time_ms) and request.filter.allows(item, request.time_ms))


ACTIONS = (int(EventType.CLICK), int(EventType.LIKE), int(EventType.HIDE))
SCALE, OFFSET = 1.5, -0.5
PART_NAMES = ("user_item", "item_bias", "interaction")


@dataclass
class FakeRanking(Outage):
    """Scores each candidate by its id alone, so that a score does not depend on the others.

    Attributes:
        logits: by item and action; items that are not named get pseudo-random ones from their id.
        effects: what an event about one item adds to the logits of another item but for hiding it, by both ids.
        answer_with: changes the answer before it is given.
    """

    logits: dict[str, Sequence[float]] = field(default_factory=dict)
    actions: tuple[int, ...] = ACTIONS
    model_version: str = "test-bundle"
    data_watermark: str = ""
    keep_retrieval_order: bool = False
    keep_neighbour_order: bool = False
    rated: bool = False
    bundle: TrainedBundle | None = None
    effects: dict[tuple[str, str], float] = field(default_factory=dict)
    answer_with: Callable[[RankingResult], RankingResult] = field(default=lambda result: result)
    requests: list[RankingRequest] = field(default_factory=list)

    async def rank(self, request: RankingRequest) -> RankingResult:
        """Probabilities, and parts when asked for."""
        self.requests.append(request)
        await self.answer()
        parts, logits = self._scored(request)
        scales, offsets = np.full(len(self.actions), SCALE, np.float32), np.full(len(self.actions), OFFSET, np.float32)
        without = [_sigmoid(self._scored(each)[1]) for each in request.without_each()]
        ratings = logits[:, 0].astype(np.float32) if self.rated else np.empty(0, np.float32)
        result = RankingResult(
            actions=self.actions,
            probabilities=_sigmoid(logits),
            ratings=ratings,
            parts=ScoreParts(PART_NAMES, parts, scales, offsets) if request.explain else None,
            model_version=self.model_version,
            data_watermark=self.data_watermark,
            keep_retrieval_order=self.keep_retrieval_order,
            keep_neighbour_order=self.keep_neighbour_order,
            without_event=np.array(without, np.float32).reshape(len(without), *logits.shape),
            bundle=self.bundle if request.describe_bundle else None,
        )
        return self.answer_with(result)

    def _scored(self, request: RankingRequest) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """(N, A, P) parts and (N, A) logits."""
        parts = np.array([self._parts(item_id) for item_id in request.candidates.item_ids], np.float32)
        parts = parts.reshape(len(request.candidates), len(self.actions), len(PART_NAMES))
        for row, item_id in enumerate(request.candidates.item_ids):
            parts[row, np.array(self.actions) != EventType.HIDE, -1] += sum(
                self.effects.get((seen, item_id), 0.0) for seen in request.history.item_ids
            )
        return parts, parts.astype(np.float64).sum(axis=2) * SCALE + OFFSET

    def _parts(self, item_id: str) -> list[list[float]]:
        """(A, P) parts of one item."""
        if item_id in self.logits:
            return [[logit, 0.0, 0.0] for logit in self.logits[item_id]]
        generator = np.random.default_rng(list(item_id.encode()))
        drawn: list[list[float]] = generator.normal(-0.7, 0.7, (len(self.actions), len(PART_NAMES))).tolist()
        return drawn


def _sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


@dataclass
class FakeFeedback(Outage):
    """Served slates in a list; whoever reads the log gets them all at once.

    Attributes:
        read_back: set when a reader has got everything.
        refusals: why a slate is refused, by its id.
    """

    slates: list[ServedSlate] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    recorded: asyncio.Event = field(default_factory=asyncio.Event)
    read_back: asyncio.Event = field(default_factory=asyncio.Event)
    refusals: dict[str, ServiceError] = field(default_factory=dict)

    async def record_slates(self, slates: Sequence[ServedSlate]) -> Recorded:
        """Append those that are not there yet."""
        await self.answer()
        rows = enumerate(slates)
        refused = {
            row: self.refusals[each.recommendation_id] for row, each in rows if each.recommendation_id in self.refusals
        }
        self.batches.append(len(slates))
        slates = [slate for row, slate in enumerate(slates) if row not in refused]
        known = {(slate.recommendation_id, slate.first_position) for slate in self.slates}
        self.slates += [slate for slate in slates if (slate.recommendation_id, slate.first_position) not in known]
        self.recorded.set()
        return Recorded(Watermark.of(len(self.slates)), refused)

    async def slate(self, recommendation_id: str) -> ServedSlate | None:
        """The first page's slate."""
        await self.answer()
        found = (slate for slate in self.slates if slate.recommendation_id == recommendation_id)
        return next((slate for slate in found if not slate.first_position), None)

    async def tail(self, after: Watermark, *, follow: bool, batch_size: int = 500) -> AsyncIterator[LogBatch]:
        """Every slate, once."""
        await self.answer()
        head = Watermark.of(len(self.slates))
        records = (
            LogRecord(Watermark.of(row + 1), slate.served_ms, "", slate) for row, slate in enumerate(self.slates)
        )
        yield LogBatch(tuple(records), head, head)
        self.read_back.set()
