"""The transition counter's two settings, chosen on the validation requests: domains differ much.

Where purchases follow a need (Beauty), only the last event counts; where tastes last (films), decay is slow. Trying
all pairs costs a few seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from services.trainer.evaluation import Requests, evaluate
from services.trainer.splits import Split
from shared.model.index import NONE, best_of
from shared.model.transitions import TransitionCounts, TransitionTable

DECAYS = (0.3, 0.6, 0.8, 0.9)
DAMPINGS = (0.0, 0.25, 0.5, 0.75)

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TransitionsOnly:
    """The counter's own order as a `Recommender`.

    Attributes:
        table: the counter.
    """

    table: TransitionTable

    @property
    def name(self) -> str:
        """For tables and files."""
        return "transitions"

    def recommend(self, requests: Requests, k: int) -> npt.NDArray[np.int32]:
        """(B, k) distinct unseen item rows, best first; -1 behind the last that the counter knows."""
        lists = np.full((len(requests), k), NONE, np.int32)
        for request in range(len(requests)):
            rows, scores = self.table.scored(requests.histories[request].astype(np.int64))
            free = requests.catalogue[rows] & ~np.isin(rows, requests.seen[request])
            lists[request] = best_of(rows[free][None], scores[free][None], k).rows[0]
        return lists


@dataclass(frozen=True, slots=True)
class Tried:
    """The values that are tried: one where it is set."""

    decays: tuple[float, ...] = DECAYS
    dampings: tuple[float, ...] = DAMPINGS

    @classmethod
    def around(cls, decay: float | None, damping: float | None) -> Self:
        """What is left open by these."""
        return cls(DECAYS if decay is None else (decay,), DAMPINGS if damping is None else (damping,))


def chosen_parameters(counts: TransitionCounts, validation: Split, values: Tried | None = None) -> tuple[float, float]:
    """Decay and damping with the best NDCG@10 on the validation requests."""
    values = values or Tried()
    if len(values.decays) == len(values.dampings) == 1:
        return values.decays[0], values.dampings[0]
    tried: dict[tuple[float, float], float] = {}
    for damping in values.dampings:  # one table at a time is in memory
        table = counts.table((values.decays[0], damping))
        tried |= {(decay, damping): _quality(replace(table, decay=decay), validation) for decay in values.decays}
    return max(tried, key=lambda parameters: tried[parameters])


def _quality(table: TransitionTable, validation: Split) -> float:
    return evaluate(TransitionsOnly(table), validation).values["ndcg@10"]
