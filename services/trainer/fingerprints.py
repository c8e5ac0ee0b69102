"""Which data and which settings a training is of.

So a run resumes only its own checkpoints, and an evaluation knows whether a bundle has seen its events.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from services.trainer.datasets import Dataset
from services.trainer.preprocessing import occurrences
from services.trainer.presets import TrainingSettings
from shared.domain.items import ContentVector, Item


def data_fingerprint(dataset: Dataset) -> str:
    """Of users, items and events; names and details of items do not count, nor events that repeat another."""
    digest = hashlib.sha256()
    for names in (dataset.users.ids, dataset.items.ids):
        digest.update("\n".join(names).encode())
        digest.update(b"\0")
    events = dataset.interactions.take(occurrences(dataset.interactions) == 0)
    for column in (events.user_rows, events.item_rows, events.event_types, events.times_s):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def run_fingerprint(dataset: Dataset, settings: TrainingSettings) -> str:
    """Of everything that a run's weights follow from."""
    details = repr((settings, [_named(item) for item in dataset.item_details], dataset.user_details)).encode()
    return hashlib.sha256(data_fingerprint(dataset).encode() + details).hexdigest()


def _named(item: Item) -> tuple[Item, list[tuple[str, str, str]]]:
    """The item with its vectors' names in place of their numbers."""
    return replace(item, vectors=()), [(each.modality, each.encoder_id, _name(each)) for each in item.vectors]


def _name(vector: ContentVector) -> str:
    return vector.content_hash or hashlib.sha256(vector.values.tobytes()).hexdigest()
