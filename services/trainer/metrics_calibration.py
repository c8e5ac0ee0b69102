"""Whether a probability means what it says: reliability by bin and expected calibration error.

Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks (2017), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 10


@dataclass(frozen=True, slots=True)
class Reliability:
    """What came true in each of the bins of equal numbers of predictions that are not empty.

    Attributes:
        predicted: mean probability that was said.
        observed: share that came true.
        counts: predictions in the bin.
        error: expected calibration error, Σ counts/N · |predicted - observed|.
    """

    predicted: npt.NDArray[np.float64]
    observed: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]
    error: float


def reliability(
    probabilities: npt.NDArray[np.floating], outcomes: npt.NDArray[np.bool_], bins: int = BINS
) -> Reliability:
    """Compare N probabilities with what happened. Equal predictions always share a bin.

    Raises:
        ValueError: the lengths differ, there are none, or a probability is outside [0, 1] or not a number.
    """
    said = np.asarray(probabilities, dtype=np.float64)
    if said.shape != outcomes.shape or not len(said):
        raise ValueError(f"calibration needs as many outcomes as predictions: {len(said)} and {len(outcomes)}")
    if not np.all((said >= 0) & (said <= 1)):
        raise ValueError("a probability is outside [0, 1] or not a number")
    borders = np.unique(np.quantile(said, np.linspace(0, 1, bins + 1)[1:-1]))
    place = np.searchsorted(borders, said, side="left")
    counts = np.bincount(place, minlength=len(borders) + 1)
    kept = counts > 0
    predicted = np.bincount(place, said, len(counts))[kept] / counts[kept]
    observed = np.bincount(place, outcomes.astype(np.float64), len(counts))[kept] / counts[kept]
    error = float((counts[kept] * np.abs(predicted - observed)).sum() / len(said))
    return Reliability(predicted, observed, counts[kept], error)
