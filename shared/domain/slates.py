"""A served slate with everything that shaped it: what replay and training read, and never reconstruct."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.domain.history import History
from shared.domain.items import User
from shared.domain.provenance import Provenance
from shared.domain.ranking import Candidates, RequestContext
from shared.domain.retrieval import SourceHits


@dataclass(frozen=True, slots=True)
class ServedSlate:
    """One answer of `Recommend`. N candidates were ranked, S of them shown.

    Attributes:
        seed: of every random choice in the answer.
        candidates: as the ranker saw them.
        actions, probabilities: the ranker's columns and (N, A) float32 answer; A = 0 when no ranker answered.
        action_weights: (A,) that turned probabilities into `values`.
        values: (N,) float64 final value of each candidate.
        shown_rows: (S,) int32 rows of `candidates` in shown order.
        propensities: (S,) float32 probability with which each position got its item.
        reserve_rows: rows in ranked order behind the shown ones: later pages are cut from them.
        first_position: 0 on the first page.
    """

    recommendation_id: str
    user_id: str
    session_id: str
    surface: str
    served_ms: int
    provenance: Provenance
    seed: int
    history: History
    user: User | None
    context: RequestContext
    candidates: Candidates
    sources: tuple[SourceHits, ...]
    actions: tuple[int, ...]
    action_weights: tuple[float, ...]
    probabilities: npt.NDArray[np.float32]
    values: npt.NDArray[np.float64]
    shown_rows: npt.NDArray[np.int32]
    propensities: npt.NDArray[np.float32]
    reserve_rows: npt.NDArray[np.int32]
    first_position: int = 0

    @property
    def shown_item_ids(self) -> tuple[str, ...]:
        """The items in shown order."""
        return tuple(self.candidates.item_ids[row] for row in self.shown_rows)
