"""Which data and which settings a training is of.

So a run resumes only its own checkpoints, and an evaluation knows whether a bundle has seen its events.
"""

from __future__ import annotations

import hashlib

import numpy as np

from services.trainer.datasets import Dataset
from services.trainer.presets import TrainingSettings


def data_fingerprint(dataset: Dataset) -> str:
    """Of users, items and events; names and details of items do not count."""
    digest = hashlib.sha256()
    for names in (dataset.users.ids, dataset.items.ids):
        digest.update("\n".join(names).encode())
        digest.update(b"\0")
    events = dataset.interactions
    for column in (events.user_rows, events.item_rows, events.event_types, events.times_s):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def run_fingerprint(dataset: Dataset, settings: TrainingSettings) -> str:
    """Of everything that a run's weights follow from."""
    details = repr((settings, dataset.item_details)).encode()
    return hashlib.sha256(data_fingerprint(dataset).encode() + details).hexdigest()
