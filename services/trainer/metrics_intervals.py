"""How sure a mean is: percentile bootstrap over users.

A per-user measure takes few distinct values (a rank has k + 1), so resampling users is drawing how often each value
comes: one multinomial draw a resample, exact and fast for any number of users.
Efron, Tibshirani: An Introduction to the Bootstrap (1993), section 13.3.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

RESAMPLES = 2_000
LEVEL = 0.95


def bootstrap_interval(
    values: npt.NDArray[np.float64], rng: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The 95 % interval of the mean of (S,) per-user values.

    Raises:
        ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("an interval needs the values of at least one user")
    distinct, counts = np.unique(values, return_counts=True)
    draws = rng.multinomial(len(values), counts / len(values), size=resamples)  # (R, distinct)
    low, high = np.quantile(draws @ distinct / len(values), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bootstrap_difference(
    ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, float]:
    """The 95 % interval of mean(ours) - mean(theirs) over the same users; clear of 0 means a real difference.

    Raises:
        ValueError: the two are not of the same users.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"a paired difference needs the same users: {len(ours)} against {len(theirs)}")
    return bootstrap_interval(ours - theirs, rng)
