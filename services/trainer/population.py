"""The population that a ranker was judged on, as the reference that serving is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.domain.events import EventType
from shared.model.calibration import Calibration
from shared.model.knowledge import NAMES, OF_THE_HOUR
from shared.model.reference import Distribution, Reference, probability_name

MOST_CANDIDATES: Final = 200_000
"""More tell nothing new."""

Floats = npt.NDArray[np.float32]


def reference_of(
    features: npt.NDArray[np.float16], logits: Floats, calibration: Calibration, actions: Sequence[int]
) -> Reference:
    """The distributions of every feature but the hour's, and of the probabilities of every action.

    Args:
        features: (n, K) of the candidates, as the knowledge gives them.
        logits: (n, A) of the same.
        calibration: of features and logits.
        actions: (A,) codes.
    """
    step = -(-len(features) // MOST_CANDIDATES)
    scaled = calibration.scaler.scaled(features[::step].astype(np.float32))
    found = {
        name: Distribution.of(column) for name, column in zip(NAMES, scaled.T, strict=True) if name not in OF_THE_HOUR
    }
    bounded = np.clip(calibration.scales * logits[::step] + calibration.offsets, -30, 30)
    for action, column in zip(actions, (1 / (1 + np.exp(-bounded))).T, strict=True):
        found[probability_name(EventType(action).label)] = Distribution.of(column.astype(np.float32))
    return Reference(found)
