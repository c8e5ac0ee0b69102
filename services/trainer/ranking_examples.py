"""Requests of the past with their candidates, features and outcomes: what the ranker learns from and is judged on.

W windows (histories), Q requests, C candidates a request, K features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.trainer.candidates import CandidateLists
from services.trainer.moments import Moments
from shared.model.encoding import PackedHistories
from shared.model.knowledge import NAMES, CandidateArrays, KnowledgeSource

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Requests:
    """Q requests at moments of the past; several may share a history and see different lengths of it.

    Attributes:
        histories: W of them.
        times_ms: (T,) int64, beside the histories' other columns.
        window: (Q,) which history a request belongs to, ascending.
        places: (Q,) how many of its events had happened.
        times_s: (Q,) when: the latest time that is known then, see `Split.request_times_s`.
        targets: (Q,) item row of what happened next.
        kinds: (Q,) its event type.
    """

    histories: PackedHistories
    times_ms: Rows
    window: Rows
    places: Rows
    times_s: npt.NDArray[np.float64]
    targets: Rows
    kinds: Rows

    def __len__(self) -> int:
        return len(self.window)

    def take(self, requests: npt.NDArray[np.bool_]) -> Requests:
        """Some of the requests, over the same histories."""
        return Requests(
            self.histories,
            self.times_ms,
            self.window[requests],
            self.places[requests],
            self.times_s[requests],
            self.targets[requests],
            self.kinds[requests],
        )


def known_features(
    requests: Requests, lists: CandidateLists, source: KnowledgeSource, moments: Moments
) -> npt.NDArray[np.float16]:
    """(Q, C, K) the knowledge features of every candidate, unscaled; 0 behind the end of a list."""
    features = np.zeros((*lists.rows.shape, len(NAMES)), np.float16)
    for request in range(len(requests)):
        count = int((lists.rows[request] >= 0).sum())
        arrays = candidate_arrays(requests, lists, moments, request, count)
        features[request, :count] = source.features(arrays)
    return features


def candidate_arrays(
    requests: Requests, lists: CandidateLists, moments: Moments, request: int, count: int
) -> CandidateArrays:
    """One request with its first `count` candidates as the knowledge features read it."""
    start = requests.histories.offsets[requests.window[request]]
    past = slice(start, start + requests.places[request])
    rows, time_s = lists.rows[request, :count], float(requests.times_s[request])
    return CandidateArrays(
        time_ms=round(time_s * 1000),
        history_rows=requests.histories.item_rows[past],
        history_times_ms=requests.times_ms[past],
        rows=rows,
        ages_days=moments.ages_days(rows, time_s),
        popularity=moments.popularity.before(rows, time_s),
        trend=moments.trend.before(rows, time_s),
        retrieval_scores=lists.retrieval_scores[request, :count],
        retrieval_ranks=lists.retrieval_ranks[request, :count],
        neighbour_scores=lists.neighbour_scores[request, :count],
        neighbour_ranks=lists.neighbour_ranks[request, :count],
        interests=requests.histories.interests_of(int(requests.window[request])),
    )
