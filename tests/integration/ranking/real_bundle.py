"""A bundle with all that the real ranker reads: random weights, and the rest as training leaves it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from shared.domain.events import EventType
from shared.domain.items import Item
from shared.domain.vocabulary import Vocabulary
from shared.model.bundle import ITEMS, write_arrays, write_bundle, write_strings
from shared.model.calibration import Calibration
from shared.model.encoding import ValueScale, save_scale
from shared.model.index import VECTORS_FILE
from shared.model.item_tower import FeatureEncoding, save_table
from shared.model.knowledge import NAMES, KnowledgeSource, Statistics
from shared.model.manifest import Holdout, ManifestFacts
from shared.model.ranker import RankerModel, RankerParts, new_ranker
from shared.model.registry import Registry
from shared.model.retriever import RetrieverSettings
from shared.model.scaler import Scaler
from shared.model.transitions import TransitionTable

ACTIONS = (int(EventType.CLICK), int(EventType.LIKE))
EVENTS_PER_ITEM = 20
FEATURE_LIMIT = 1000


def publish_ranker(registry: Path, scratch: Path, item_ids: tuple[str, ...], created_ms: int) -> str:
    """Publish a ranker with random weights for these items; gives its version."""
    scratch.mkdir(parents=True)
    settings = RetrieverSettings(width=64, heads=2, blocks=2, dropout=0.0, history_limit=200, temperature=0.1)
    model = _untrained(settings, item_ids, created_ms)
    parts = model.parts
    write_strings(scratch / ITEMS, item_ids)
    parts.encoding.save(scratch)
    save_table(parts.table, scratch)
    save_scale(parts.scale, scratch)
    parts.knowledge.transitions.save(scratch)
    write_arrays(scratch / VECTORS_FILE, {"vectors": parts.knowledge.vectors})
    model.save(scratch)
    write_bundle(scratch, _facts(settings, created_ms))
    return Registry(str(registry)).publish(scratch)


def _untrained(settings: RetrieverSettings, item_ids: tuple[str, ...], seed: int) -> RankerModel:
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    count = len(item_ids)
    items = [
        Item(item_id, title=f"Title {row}", categories=(f"category-{row % 7}",)) for row, item_id in enumerate(item_ids)
    ]
    vocabulary = Vocabulary(item_ids)
    encoding = FeatureEncoding.fit(items, FEATURE_LIMIT)
    table = encoding.table(items, vocabulary)
    rows = random.integers(0, count, EVENTS_PER_ITEM * count)
    vectors = random.standard_normal((count, settings.width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    followers = (np.arange(count) + 1) % count
    transitions = TransitionTable(np.arange(count + 1), followers, np.ones(count, np.float32), decay=0.6, damping=0.5)
    statistics = Statistics.fit(rows, np.full(len(rows), np.nan, np.float32), count)
    ones, zeros = np.ones(len(ACTIONS), np.float32), np.zeros(len(ACTIONS), np.float32)
    scaler = Scaler(np.zeros(len(NAMES), np.float32), np.ones(len(NAMES), np.float32))
    return RankerModel(
        RankerParts(
            network=new_ranker(settings, encoding, count, len(ACTIONS)),
            vocabulary=vocabulary,
            encoding=encoding,
            table=table,
            scale=ValueScale.fit(np.empty(0, np.int64), np.empty(0, np.float32)),
            knowledge=KnowledgeSource.of(transitions, statistics, vectors, table.bags, len(encoding.featurizer.names)),
            calibration=Calibration(scaler, ones, zeros, value_mean=3.5, value_spread=1.0),
            actions=ACTIONS,
        )
    )


def _facts(settings: RetrieverSettings, created_ms: int) -> ManifestFacts:
    return ManifestFacts(
        created_ms=created_ms,
        watermark="w-1",
        seed=created_ms,
        data_name="random",
        trained_events=1,
        trained_until_ms=created_ms,
        holdout=Holdout(split="none"),
        serve_order="ranker",
        actions=ACTIONS,
        search_k=1,
        retriever=settings.model_dump(),
        ranker=settings.model_dump(),
        index={},
        training={},
        metrics={},
        gates=(),
    )
