"""A bundle with everything that retrieval reads, really trained on a small world of known tastes.

In the world each user keeps to one of four genres, and the words of a title go with the genre. So a new item's content
says where it belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from shared.domain.events import EventType
from shared.domain.history import History
from shared.domain.items import Item
from shared.domain.vocabulary import Vocabulary
from shared.model.bundle import ITEMS, write_bundle, write_strings
from shared.model.encoding import ValueScale, pack_histories, save_scale
from shared.model.index import tune
from shared.model.item_tower import FeatureEncoding, save_table
from shared.model.manifest import Holdout, ManifestFacts
from shared.model.retriever import HistoryInputs, RetrieverModel, RetrieverSettings, new_network
from shared.model.transitions import transition_table

GENRES = {"Horror": "dark night", "Comedy": "funny day", "Western": "dusty road", "Romance": "sweet heart"}
ITEMS_OF_GENRE = 20
_USERS, _EVENTS_OF_USER = 120, 12
_START_MS = 1_600_000_000_000
_FEATURE_LIMIT = 20_000
RECALL_K = 50
SMALL = RetrieverSettings.model_validate({"width": 32, "heads": 1, "blocks": 1, "dropout": 0.0, "history_limit": 50})


@dataclass(frozen=True, slots=True)
class World:
    """Items and what each user did with them."""

    items: tuple[Item, ...]
    histories: tuple[History, ...]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to train, and what shape."""

    steps: int = 40
    users_a_step: int = 60
    settings: RetrieverSettings = SMALL


def world_item(genre: str, number: int) -> Item:
    """One item of the world."""
    first, second = GENRES[genre].split()
    title = f"{first} {second} {number}" if number % 2 else f"The {second}: {number}"
    return Item(f"{genre.lower()}-{number}", title=title, categories=(genre,))


def small_world() -> World:
    """Who watched what."""
    rng = np.random.default_rng(7)
    by_genre = [[world_item(genre, number) for number in range(ITEMS_OF_GENRE)] for genre in GENRES]
    histories = []
    for user in range(_USERS):
        picks = rng.permutation(ITEMS_OF_GENRE)[:_EVENTS_OF_USER]
        histories.append(history_of_world([by_genre[user % len(GENRES)][pick].item_id for pick in picks]))
    return World(tuple(item for items in by_genre for item in items), tuple(histories))


def history_of_world(item_ids: Sequence[str]) -> History:
    """Clicks, a minute apart."""
    count = len(item_ids)
    return History(
        tuple(item_ids),
        np.full(count, int(EventType.CLICK), np.int32),
        np.full(count, np.nan, np.float32),
        _START_MS + 60_000 * np.arange(count, dtype=np.int64),
    )


def seal_bundle(folder: Path, world: World, model: RetrieverModel, created_ms: int) -> Path:
    """Tune an index for a trained retriever, and seal both as a bundle in a new folder."""
    vectors = model.catalogue_vectors()
    index, tuning = tune(vectors, _queries(vectors), min(RECALL_K, len(vectors)), 0.95, 1)
    folder.mkdir(parents=True)
    write_strings(folder / ITEMS, model.vocabulary.ids)
    model.save(folder)
    model.encoding.save(folder)
    save_table(model.table, folder)
    save_scale(model.scale, folder)
    index.save(folder)
    rows = [model.vocabulary.rows(history.item_ids) for history in world.histories]
    offsets = np.concatenate(([0], np.cumsum([len(each) for each in rows]))).astype(np.int64)
    transition_table((np.concatenate(rows), offsets), len(model.vocabulary), 200, (0.9, 0.5)).save(folder)
    write_bundle(folder, _facts(model, created_ms, tuning.search_k))
    return folder


def trained(world: World, effort: Effort | None = None) -> RetrieverModel:
    """Softmax over the whole catalogue at every event; half of the ids are hidden, so that content stands alone."""
    effort = effort or Effort()
    torch.manual_seed(5)
    torch.set_num_threads(1)
    vocabulary = Vocabulary(item.item_id for item in world.items)
    encoding = FeatureEncoding.fit(world.items, _FEATURE_LIMIT)
    table = encoding.table(world.items, vocabulary)
    kinds = np.concatenate([history.event_types for history in world.histories]).astype(np.int64)
    scale = ValueScale.fit(kinds, np.concatenate([history.values for history in world.histories]))
    network = new_network(effort.settings, encoding, len(vocabulary)).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    rng = np.random.default_rng(11)
    inputs = table.inputs(np.arange(len(table)))
    for _ in range(effort.steps):
        chosen = [world.histories[user] for user in rng.integers(0, len(world.histories), effort.users_a_step)]
        chosen = [history.latest(effort.settings.history_limit) for history in chosen]
        before = [history_of_world(history.item_ids[:-1]) for history in chosen]
        targets = np.concatenate([vocabulary.rows(history.item_ids) for history in chosen])
        raw = network.tower(inputs, 0.5)
        packed = pack_histories(before, vocabulary, scale, effort.settings.history_limit)
        users, _ = network(HistoryInputs.of(packed), raw)
        scores = users @ F.normalize(raw, dim=-1).T / effort.settings.temperature
        optimizer.zero_grad()
        F.cross_entropy(scores, torch.from_numpy(targets)).backward()  # type: ignore[no-untyped-call]  # torch has no types for it
        optimizer.step()
    return RetrieverModel(network, encoding, table, vocabulary, scale)


def _queries(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Like user vectors: between a few items."""
    rng = np.random.default_rng(3)
    mixed = vectors[rng.integers(0, len(vectors), (200, 3))].mean(axis=1)
    unit: npt.NDArray[np.float32] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return unit


def _facts(model: RetrieverModel, created_ms: int, search_k: int) -> ManifestFacts:
    return ManifestFacts(
        created_ms=created_ms,
        seed=5,
        data_name="small world",
        trained_events=1,
        trained_until_ms=created_ms,
        holdout=Holdout(split="none"),
        serve_order="retrieval",
        actions=(),
        search_k=search_k,
        retriever=model.network.settings.model_dump(),
        ranker={},
        index={},
        training={},
        metrics={},
        gates=(),
    )
