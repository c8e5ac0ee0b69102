"""From a request as it came to the arrays that the ranker's external knowledge is computed from.

Serving and training on served slates go this one way, so a column that a caller left out means the same to both.

N candidates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from shared.domain.ranking import RankingRequest
from shared.model.encoding import PackedHistories
from shared.model.knowledge import CandidateArrays

Rows = npt.NDArray[np.int64]


def described(request: RankingRequest, packed: PackedHistories, number: int, rows: Rows) -> CandidateArrays:
    """What the knowledge features of a request's candidates are computed from.

    Args:
        request: with N candidates.
        packed: histories.
        number: which of them is the request's.
        rows: (N,) item rows of the candidates.
    """
    candidates, count = request.candidates, len(rows)
    history_rows = packed.item_rows[packed.offsets[number] : packed.offsets[number + 1]]
    return CandidateArrays(
        time_ms=request.time_ms,
        history_rows=history_rows,
        history_times_ms=request.history.times_ms[len(request.history) - len(history_rows) :],
        rows=rows,
        ages_days=_column(candidates.ages_days, count, -1),
        popularity=_column(candidates.popularity, count),
        trend=_column(candidates.trend, count),
        retrieval_scores=_column(candidates.retrieval_scores, count),
        retrieval_ranks=_column(candidates.retrieval_ranks, count, kind=np.int32),
        neighbour_scores=_column(candidates.neighbour_scores, count),
        neighbour_ranks=_column(candidates.neighbour_ranks, count, kind=np.int32),
        interests=packed.interests_of(number),
    )


def _column(values: npt.NDArray[Any], count: int, missing: float = 0, kind: type = np.float32) -> npt.NDArray[Any]:
    return np.full(count, missing, kind) if len(values) != count else values.astype(kind)
