"""Whether a bundle's probabilities mean what they say, action by action, on requests that it has not seen.

S requests, C candidates, A actions.
"""

from __future__ import annotations

import numpy as np

from services.trainer.bundle_evaluation import BundleRecommender
from services.trainer.evaluation import batches
from services.trainer.metrics_calibration import Reliability, reliability
from services.trainer.splits import Split
from shared.domain.events import EventType

USERS = 2_000
_BATCH = 256


def reliabilities(recommender: BundleRecommender, split: Split, seed: int = 0) -> dict[str, Reliability]:
    """By action: what the ranker said of every candidate against what happened to it.

    Args:
        recommender: with both stages.
        split: whose requests are asked; of many users a sample.
        seed: draws the sample.
    """
    models, asked_split = recommender.models, split.sampled(USERS, np.random.default_rng(seed))
    actions, calibration = models.ranker.actions, models.ranker.parts.calibration
    targets = recommender.to_bundle[asked_split.target_items]
    kinds = split.interactions.event_types[asked_split.target_events]
    said, happened = [], []
    for number, requests in enumerate(batches(asked_split, _BATCH)):
        asked, lists = models.retrieval.find(recommender.translated(requests), models.quotas, models.moments)
        part = slice(number * _BATCH, number * _BATCH + len(requests))
        logits = calibration.scales * models.logits(asked, lists) + calibration.offsets  # (S, C, A)
        some = lists.rows >= 0
        hit = (lists.rows == targets[part, None])[..., None] & (kinds[part, None] == np.array(actions))[:, None]
        said.append(1 / (1 + np.exp(-np.clip(logits[some], -30, 30))))
        happened.append(hit[some])
    probabilities, outcomes = np.concatenate(said), np.concatenate(happened)
    return {EventType(action).label: reliability(probabilities[:, place], outcomes[:, place])
            for place, action in enumerate(actions)}  # fmt: skip
