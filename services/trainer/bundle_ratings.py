"""How far off the ratings are that a bundle's ranker foretells, for the requests whose outcome was a rating.

The value is foretold from the history before it, as in serving; nothing else of the outcome is read than its item.
S requests.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from services.trainer import evaluation
from services.trainer.bundle_evaluation import BundleRecommender
from services.trainer.evaluation import batches
from services.trainer.ratings.measuring import RatingMetrics
from services.trainer.splits import Split
from services.trainer.two_stage import as_requests
from shared.domain.events import EventType
from shared.domain.vocabulary import UNKNOWN_ROW
from shared.model.knowledge import NAMES

_BATCH = 64


def rating_head(recommender: BundleRecommender, split: Split) -> RatingMetrics | None:
    """Measure the rating head; None: no outcome is a rating with a value of an item that the bundle knows."""
    targets, events = recommender.to_bundle[split.target_items], split.interactions
    values = events.values[split.target_events].astype(np.float64)
    rated = (events.event_types[split.target_events] == EventType.RATING) & np.isfinite(values)
    asked = rated & (targets != UNKNOWN_ROW)
    if not asked.any() or not recommender.models.ranker.parts.calibration.value_spread:
        return None
    foretold = np.concatenate(
        [
            _foretold(recommender, requests, targets[number * _BATCH : number * _BATCH + len(requests)])
            for number, requests in enumerate(batches(split, _BATCH))
        ]
    )
    return RatingMetrics.of([foretold[asked] - values[asked]])


@torch.inference_mode()
def _foretold(
    recommender: BundleRecommender, requests: evaluation.Requests, targets: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(S,) values, as the ranker is asked for one candidate each."""
    models = recommender.models
    asked = as_requests(recommender.translated(requests), models.retrieval.model, models.retrieval.profiles)
    rows = targets.astype(np.int64)[:, None]  # (S, 1)
    nothing = np.zeros((*rows.shape, len(NAMES)), np.float32)  # ratings read none of the features
    _, ratings = models.ranker.scored(asked.histories, rows, models.ranker.raw_items(rows), nothing)
    calibration = models.ranker.parts.calibration
    found: npt.NDArray[np.float64] = calibration.value_mean + calibration.value_spread * ratings[:, 0].astype(
        np.float64
    )
    return found
