"""A small candidate generation to test with: real index and catalogue, and towers that anybody can predict.

Vectors say nothing but categories: items of one category are near each other, a user is near the items of the history.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from services.candidate_generation.app import sources_of
from services.candidate_generation.catalogue import Catalogue
from services.candidate_generation.catalogue_watch import CatalogueWatch
from services.candidate_generation.engine import Engine, EngineParts, Threads
from services.candidate_generation.filters import FilterMasks
from services.candidate_generation.query import Query, Source, SourceAnswer
from services.candidate_generation.retrieval import CandidateRetrieval, Quotas, Serving
from services.candidate_generation.settings import DEFAULT_QUOTAS, CandidateGenerationSettings
from services.candidate_generation.top_lists import Polling, TopLists
from shared.domain.events import Event, EventType
from shared.domain.history import History
from shared.domain.items import Item, User
from shared.domain.retrieval import RetrievalRequest
from shared.domain.user_state import ItemState, ItemStatus
from shared.domain.vocabulary import Vocabulary
from shared.kernel.config import load
from shared.kernel.readiness import Readiness
from shared.model.index import AnnoyItemIndex
from shared.model.live_index import LiveIndex
from shared.model.transitions import TransitionTable, transition_table
from tests.unit.candidate_generation.memory_features import MemoryFeatures

NOW_MS = 1_700_000_000_000
WIDTH = 16

Floats = npt.NDArray[np.float32]


@dataclass
class CategoryTowers:
    """Towers whose vectors are directions of categories, with a little of the id so that no two are equal."""

    known: Mapping[str, Item] = field(default_factory=dict)
    encoded: list[str] = field(default_factory=list)
    users: list[History] = field(default_factory=list)

    def item_vectors(self, items: Sequence[Item]) -> Floats:
        """(N, D) unit vectors."""
        self.encoded.extend(item.item_id for item in items)
        return np.array([_vector(item) for item in items], np.float32).reshape(len(items), WIDTH)

    def user_vectors(
        self,
        histories: Sequence[History],
        fresh: Mapping[str, Item] | None = None,
        users: Sequence[User | None] | None = None,
    ) -> Floats:
        """(B, D) the mean of the known items, newest counting most; a fixed direction for the empty history."""
        self.users.extend(histories)
        return np.array([self._user(history, {**self.known, **(fresh or {})}) for history in histories], np.float32)

    def _user(self, history: History, items: Mapping[str, Item]) -> Floats:
        liked = [_vector(items[item_id]) for item_id in history.item_ids if item_id in items]
        mean = np.mean(liked, axis=0) if liked else _direction("start")
        unit: Floats = (mean / np.linalg.norm(mean)).astype(np.float32)
        return unit


def parts_of(items: Sequence[Item], sequences: Sequence[Sequence[str]] = (), **options: object) -> EngineParts:
    """The parts of a bundle with these items, whose users went through these sequences."""
    towers = CategoryTowers({item.item_id: item for item in items})
    vectors = towers.item_vectors(items)
    towers.encoded.clear()
    vocabulary = Vocabulary(item.item_id for item in items)
    index = AnnoyItemIndex.build(vectors, 8, 1)
    return EngineParts(
        version=str(options.get("version", "20240101T000000000-00000001")),
        watermark=str(options.get("watermark", "")),
        vocabulary=vocabulary,
        towers=towers,
        index=LiveIndex(index, vocabulary, 10_000, exact=bool(options.get("exact", False))),
        vectors=vectors,
        transitions=transitions_of(vocabulary, sequences),
    )


def transitions_of(vocabulary: Vocabulary, sequences: Sequence[Sequence[str]]) -> TransitionTable:
    """Counted over these sequences."""
    rows = [vocabulary.rows([item_id for item_id in each if item_id in vocabulary]) for each in sequences]
    offsets = np.concatenate(([0], np.cumsum([len(each) for each in rows]))).astype(np.int64)
    flat = np.concatenate([np.empty(0, np.int64), *rows])
    return transition_table((flat, offsets), len(vocabulary), keep=50, parameters=(0.9, 0.5))


class Room:
    """A catalogue with everything that sources need, without background tasks."""

    def __init__(self, *items: Item) -> None:
        self.features = MemoryFeatures()
        self.now_ms = NOW_MS
        self.catalogue = Catalogue()
        self.masks = FilterMasks(self.catalogue)
        self.lists = TopLists(self.features, self.catalogue, lambda: self.now_ms, Polling())
        self.engine: Engine | None = None
        self.upsert(*items)

    def upsert(self, *items: Item, popularity: float = 0.0, first_seen_ms: int = 0, watermark: str = "") -> None:
        """Put items into the catalogue."""
        self.catalogue.upsert(
            ItemState(item.item_id, ItemStatus.PRESENT, item, popularity, 0.0, watermark, first_seen_ms)
            for item in items
        )

    def delete(self, *item_ids: str) -> None:
        """Take items out of the catalogue."""
        self.catalogue.delete(item_ids, self.now_ms)

    async def load(self, parts: EngineParts) -> Engine:
        """Use a bundle."""
        self.engine = Engine(parts, inline_threads())
        await self.engine.follow(self.catalogue)
        return self.engine

    def query(self, request: RetrievalRequest) -> Query:
        """A request as the sources see it."""
        eligible = self.masks.eligible(request.filter, request.time_ms)
        return Query(request, self.catalogue, eligible, self.engine)

    def ids(self, answer: SourceAnswer) -> list[str]:
        """The items of an answer."""
        return list(self.catalogue.item_ids(answer.slots))


def all_sources(room: Room) -> tuple[Source, ...]:
    """Every source, as the app puts them together."""
    return sources_of(load(CandidateGenerationSettings), room.lists)


def retrieval_of(room: Room, *, ready: bool = True, sources: Sequence[Source] | None = None) -> CandidateRetrieval:
    """The port over a room."""
    watch = CatalogueWatch(room.features, room.catalogue, lambda: room.now_ms, Readiness())
    watch.ready = ready
    serving = Serving()
    serving.engine = room.engine
    return CandidateRetrieval(sources or all_sources(room), watch, serving, Quotas(DEFAULT_QUOTAS, 5_000))


def inline_threads() -> Threads:
    """Threads for engines; they end with the process."""
    return Threads(_SEARCH, _ENCODE)


def history_of(*item_ids: str, kind: EventType = EventType.CLICK) -> History:
    """A history of one event an item, a second apart."""
    return History.of(
        [Event(f"e{place}", "u", item_id, kind, NOW_MS - 1000 * (len(item_ids) - place))
         for place, item_id in enumerate(item_ids)]
    )  # fmt: skip


def asked(history: History | None = None, **fields: Any) -> RetrievalRequest:
    """A request of now."""
    return RetrievalRequest(history or History.empty(), **{"time_ms": NOW_MS, **fields})


def _vector(item: Item) -> Floats:
    total = 0.1 * _noise(item.item_id)
    for category in item.categories:
        total = total + _direction(category)
    unit: Floats = (total / np.linalg.norm(total)).astype(np.float32)
    return unit


def _noise(item_id: str) -> Floats:
    digest = hashlib.blake2b(item_id.encode(), digest_size=WIDTH).digest()
    noise: Floats = np.frombuffer(digest, np.uint8).astype(np.float32) / np.float32(255) - np.float32(0.5)
    return noise


@cache
def _direction(name: str) -> Floats:
    seed = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
    direction: Floats = np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)
    return direction / np.float32(np.linalg.norm(direction))


_SEARCH, _ENCODE = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
