"""Small networks with random weights, heads included: what must be equal is equal for any weights."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch

from shared.domain.events import EventType
from shared.domain.history import History
from shared.domain.items import ContentVector, Item, User
from shared.domain.ranking import Candidates, RankingRequest
from shared.domain.vocabulary import Vocabulary
from shared.model.calibration import Calibration
from shared.model.encoding import ValueScale
from shared.model.item_tower import FeatureEncoding
from shared.model.knowledge import NAMES, KnowledgeSource, Statistics
from shared.model.ranker import RankerModel, RankerParts, new_ranker
from shared.model.retriever import RetrieverModel, RetrieverSettings, new_network
from shared.model.scaler import Scaler
from shared.model.transitions import transition_table

ITEMS = tuple(f"film-{row}" for row in range(40))
ACTIONS = (int(EventType.CLICK), int(EventType.RATING))
SETTINGS = RetrieverSettings(width=16, heads=2, blocks=2, dropout=0.3, history_limit=30, temperature=0.1)
NOW_MS = 1_700_000_000_000

Network = TypeVar("Network", bound=torch.nn.Module)


def film(row: int) -> Item:
    """An item with features and a content vector."""
    values = np.random.default_rng(row).standard_normal(6).astype(np.float32)
    vector = ContentVector("text", "encoder-1", "hash", values)
    return Item(
        f"film-{row}", title=f"Story {row % 5}", categories=(f"genre-{row % 4}",), attributes={"year": 1950.0 + row},
        vectors=(vector,),
    )  # fmt: skip


def person(number: int) -> User:
    """A user with an interest that items have, one that none has, and attributes."""
    interests = (f"genre-{number % 4}", f"mood-{number % 3}")
    return User(f"user-{number}", interests, {"age": 20.0 + number, "plan": "ab"[number % 2]})


VOCABULARY = Vocabulary(ITEMS)
ENCODING = FeatureEncoding.fit([film(row) for row in range(len(ITEMS))], 1000, [person(row) for row in range(90)])
TABLE = ENCODING.table([film(row) for row in range(len(ITEMS))], VOCABULARY)
SCALE = ValueScale.fit(np.full(5, EventType.RATING), np.array([1, 2, 3, 4, 5], np.float32))


def retriever(seed: int = 0) -> RetrieverModel:
    """An untrained retriever."""
    torch.manual_seed(seed)
    return RetrieverModel(_shaken(new_network(SETTINGS, ENCODING, len(ITEMS))), ENCODING, TABLE, VOCABULARY, SCALE)


def ranker(seed: int = 0) -> RankerModel:
    """A ranker in which every part says something."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    network = _shaken(new_ranker(SETTINGS, ENCODING, len(ITEMS), len(ACTIONS)))
    sequences = random.integers(0, len(ITEMS), 400)
    table = transition_table((sequences, np.arange(0, 401, 20)), len(ITEMS), 30, (0.8, 0.5))
    statistics = Statistics.fit(sequences, random.integers(1, 6, 400).astype(np.float32), len(ITEMS))
    vectors = retriever(seed).catalogue_vectors()
    count = len(NAMES)
    scaler = Scaler(np.zeros(count, np.float32), np.full(count, 0.5, np.float32))
    calibration = Calibration(scaler, np.array([0.7, 1.3], np.float32), np.array([-1, 0.5], np.float32), 3.0, 1.1)
    knowledge = KnowledgeSource.of(table, statistics, vectors, TABLE.bags, len(ENCODING.featurizer.names))
    return RankerModel(RankerParts(network, VOCABULARY, ENCODING, TABLE, SCALE, knowledge, calibration, ACTIONS))


def history(seed: int, length: int) -> History:
    """A user's events, some about items that no bundle knows."""
    random = np.random.default_rng(seed)
    rows = random.integers(0, len(ITEMS) + 5, length)
    kinds = random.choice([EventType.CLICK, EventType.RATING, EventType.VIEW], length)
    return History(
        tuple(f"film-{row}" for row in rows),
        kinds.astype(np.int32),
        np.where(kinds == EventType.RATING, random.integers(1, 6, length), np.nan).astype(np.float32),
        NOW_MS - np.sort(random.integers(1, 10**9, length))[::-1].astype(np.int64),
    )


def request(seed: int, length: int, count: int, *, explain: bool = False) -> RankingRequest:
    """A user with candidates, known and new ones; of every third user nothing else is known."""
    random = np.random.default_rng(seed)
    rows = random.choice(len(ITEMS) + 5, count, replace=False)
    retrieved = random.random(count) < 0.6
    candidates = Candidates(
        item_ids=tuple(f"film-{row}" for row in rows),
        ages_days=random.integers(-1, 400, count).astype(np.float32),
        popularity=random.exponential(20, count).astype(np.float32),
        trend=random.exponential(5, count).astype(np.float32),
        retrieval_scores=np.where(retrieved, random.random(count), 0).astype(np.float32),
        retrieval_ranks=np.where(retrieved, np.arange(1, count + 1), 0).astype(np.int32),
        neighbour_scores=np.zeros(count, np.float32),
        neighbour_ranks=np.zeros(count, np.int32),
        new_items={f"film-{row}": film(int(row)) for row in rows if row >= len(ITEMS)},
    )
    user = person(seed) if seed % 3 else None
    return RankingRequest(history(seed, length), candidates, NOW_MS, user, explain=explain)


def _shaken(network: Network) -> Network:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return network
