"""How well a ranker orders what was shown.

Only what was shown can be judged, and whoever served it chose it; so this compares rankers with each other and says
nothing about what they would have shown instead.

L slates, S entries of one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.trainer.slates import AnsweredSlate
from shared.model.ranker import RankerModel

Gains = npt.NDArray[np.float64]

_TOGETHER = 32


def slate_gains(ranker: RankerModel, slates: Sequence[AnsweredSlate]) -> Gains:
    """(L,) NDCG over all entries of each slate, in the order of how probable it is that anything wished happens."""
    gains = []
    for start in range(0, len(slates), _TOGETHER):
        part = slates[start : start + _TOGETHER]
        for slate, result in zip(part, ranker.score([each.request for each in part]), strict=True):
            gains.append(gain_of(np.argsort(-result.probabilities.sum(axis=1), kind="stable"), slate))
    return np.array(gains)


def gain_of(order: npt.NDArray[np.int64], slate: AnsweredSlate) -> float:
    """NDCG of the entries in an order, (S,) their places in the slate; something was done with one of them."""
    discounts = 1 / np.log2(np.arange(len(order)) + 2)
    taken = np.isin(order, slate.places)
    return float(discounts[taken].sum() / discounts[: taken.sum()].sum())
