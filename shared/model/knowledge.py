"""External knowledge about a candidate: the k of the ranker's eᵀk, computed alike in training and in serving.

What retrieval said, the transition counter, decayed popularity, age, what the item shares with the history, how near
it is to the latest items, whether it was there before, and the moment of the request. Everything is finite; what is
not known is 0 beside a flag that says so. All of it is one pass of array operations over the candidates of a user.

N candidates, L history events, M items, K features, d width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from shared.domain.vocabulary import UNKNOWN_ROW
from shared.model.bundle import Bundle, write_arrays
from shared.model.item_features import Bags
from shared.model.transitions import TransitionTable

STATISTICS_FILE = "statistics.safetensors"
DAY_MS = 86_400_000
_SMALL = 1e-4  # keeps logarithms of scores finite
_LATEST = 10  # events that "the latest items" means
_PROFILE = 50  # events that the profile of shared features reads
_PROFILE_DECAY = 0.9

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

NAMES = (
    "retrieval_given", "retrieval_score", "retrieval_log_rank", "retrieval_top",
    "neighbour_given", "neighbour_log_score", "neighbour_log_rank", "neighbour_top",
    "transition", "transition_log", "transition_latest", "transition_none",
    "popularity", "trend", "rising", "popularity_all_time", "mean_value",
    "age_known", "age", "new_item",
    "shared_latest", "shared_profile", "near_latest", "near_best", "near_mean",
    "had_before", "had_recently", "history_length", "pause", "hour_sine", "hour_cosine",
    "interests_given", "interests_shared",
)  # fmt: skip
OF_THE_HOUR = ("hour_sine", "hour_cosine")
"""Every hour differs from the whole day by these, without any drift."""


@dataclass(frozen=True, slots=True)
class CandidateArrays:
    """One user's request in arrays; every column has length N or L.

    Attributes:
        time_ms: the moment of the request.
        history_rows: (L,) item rows, oldest first, -1 = unknown.
        history_times_ms: (L,).
        rows: (N,) item rows of the candidates, -1 = not in the bundle.
        ages_days: (N,), -1 = unknown.
        popularity, trend: (N,) decayed counts.
        retrieval_scores, retrieval_ranks, neighbour_scores, neighbour_ranks: (N,), rank 0 = not given.
        interests: features of items that the user's interest tags name, each once.
    """

    time_ms: int
    history_rows: Rows
    history_times_ms: npt.NDArray[np.int64]
    rows: Rows
    ages_days: Floats
    popularity: Floats
    trend: Floats
    retrieval_scores: Floats
    retrieval_ranks: npt.NDArray[np.int32]
    neighbour_scores: Floats
    neighbour_ranks: npt.NDArray[np.int32]
    interests: Rows = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the training data says about each item.

    Attributes:
        shares: (M,) float32, events of the item per average item.
        mean_values: (M,) float32, mean event value in standard deviations from the mean, shrunk towards 0.
    """

    shares: Floats
    mean_values: Floats

    @classmethod
    def fit(cls, item_rows: Rows, values: Floats, items: int) -> Statistics:
        """Count the events of a data set; NaN values are passed over."""
        counts = np.bincount(item_rows, minlength=items)
        known = np.isfinite(values)
        spread = float(np.std(values[known])) if known.any() else 0.0
        centred = (values[known] - np.mean(values[known])) / spread if spread > 0 else np.zeros(int(known.sum()))
        sums = np.bincount(item_rows[known], centred, minlength=items)
        numbers = np.bincount(item_rows[known], minlength=items)
        shares = counts * (items / max(1, counts.sum()))
        return cls(shares.astype(np.float32), (sums / (numbers + 5)).astype(np.float32))

    def save(self, folder: Path) -> None:
        """Write them into a bundle's folder."""
        write_arrays(folder / STATISTICS_FILE, {"shares": self.shares, "mean_values": self.mean_values})

    @classmethod
    def load(cls, bundle: Bundle) -> Statistics:
        """Read those of a bundle."""
        return cls(**bundle.arrays(STATISTICS_FILE))


@dataclass(frozen=True, slots=True)
class KnowledgeSource:
    """Everything that the features are computed from.

    Attributes:
        transitions: the transition counter.
        statistics: counts of the training data.
        vectors: (M, d) unit item vectors of the retriever.
        bags: features of the items, weighted by how rare they are, each item with norm 1.
        rarity: (F,) weight of each feature.
    """

    transitions: TransitionTable
    statistics: Statistics
    vectors: Floats
    bags: Bags
    rarity: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls, transitions: TransitionTable, statistics: Statistics, vectors: Floats, bags: Bags, feature_count: int
    ) -> KnowledgeSource:
        """Weigh the features, of which there are F, by rarity: log(items / items that have it)."""
        rarity = np.log((1 + len(bags)) / (1 + np.bincount(bags.ids, minlength=feature_count)))
        weights = bags.weights * rarity[bags.ids]
        owners = np.repeat(np.arange(len(bags)), np.diff(bags.offsets))
        norms = np.sqrt(np.bincount(owners, weights**2, minlength=len(bags)))
        weights = (weights / np.maximum(norms[owners], 1e-9)).astype(np.float32)
        return cls(transitions, statistics, vectors, Bags(bags.offsets, bags.ids, weights), rarity)

    def features(self, request: CandidateArrays) -> Floats:
        """(N, K) the features named `NAMES`, not yet scaled."""
        columns = {
            **_given("retrieval", request.retrieval_scores, request.retrieval_ranks),
            **_neighbours(request),
            **self._transitions(request),
            **self._popularity(request),
            **self._near(request),
            **self._shared(request),
            **self._interests(request),
            **_had(request),
            **_moment(request),
        }
        out = np.empty((len(NAMES), len(request.rows)), np.float32)
        for place, name in enumerate(NAMES):
            out[place] = columns[name]
        return out.T

    def _transitions(self, request: CandidateArrays) -> Mapping[str, Floats]:
        scores = self.transitions.scores(request.history_rows, request.rows)
        latest = self.transitions.scores(request.history_rows[-1:], request.rows)
        return {
            "transition": np.sqrt(scores),
            "transition_log": np.log(scores + _SMALL),
            "transition_latest": np.log(latest + _SMALL),
            "transition_none": (scores <= 0).astype(np.float32),
        }

    def _popularity(self, request: CandidateArrays) -> Mapping[str, Floats]:
        known, place = _known(request.rows)
        popularity, trend = _log_count(request.popularity), _log_count(request.trend)
        return {
            "popularity": popularity,
            "trend": trend,
            "rising": trend - popularity,
            "popularity_all_time": np.log1p(self.statistics.shares[place] * known),
            "mean_value": self.statistics.mean_values[place] * known,
            "age_known": (request.ages_days >= 0).astype(np.float32),
            "age": _log_count(request.ages_days),
            "new_item": (~known).astype(np.float32),
        }

    def _near(self, request: CandidateArrays) -> Mapping[str, npt.ArrayLike]:
        """Cosines with the latest items of the history, by the retriever's vectors."""
        known, place = _known(request.rows)
        history = request.history_rows[request.history_rows != UNKNOWN_ROW][-_PROFILE:]
        if not len(history):
            return {"near_latest": 0.0, "near_best": 0.0, "near_mean": 0.0}
        # By torch, whose threads the process has set; numpy's own would wait for each other on products this small.
        vectors = torch.from_numpy(self.vectors)
        near = (vectors[torch.from_numpy(place)] @ vectors[torch.from_numpy(history)].T).numpy()  # (N, up to 50)
        return {
            "near_latest": near[:, -1] * known,
            "near_best": near[:, -_LATEST:].max(axis=1) * known,
            "near_mean": near.mean(axis=1) * known,
        }

    def _shared(self, request: CandidateArrays) -> Mapping[str, npt.ArrayLike]:
        """Cosines of rarity-weighted features with the latest item's and with a profile of the history's."""
        history = request.history_rows[request.history_rows != UNKNOWN_ROW][-_PROFILE:]
        if not len(history):
            return {"shared_latest": 0.0, "shared_profile": 0.0}
        past, bags = self.bags.take(history), self.bags.take(request.rows)
        owners = np.repeat(np.arange(len(bags)), np.diff(bags.offsets))
        ages = np.repeat(np.arange(len(history))[::-1], np.diff(past.offsets))

        def cosines(weights: Floats) -> Floats:
            profile = np.bincount(past.ids, weights, minlength=len(self.rarity))
            norm = max(float(np.sqrt((profile**2).sum())), 1e-9)
            dots = np.bincount(owners, bags.weights * profile[bags.ids], minlength=len(bags))
            return (dots / norm).astype(np.float32)

        return {
            "shared_latest": cosines(past.weights * (ages == 0)),
            "shared_profile": cosines(past.weights * _PROFILE_DECAY**ages),
        }

    def _interests(self, request: CandidateArrays) -> Mapping[str, npt.ArrayLike]:
        """Cosines of rarity-weighted features with those that the user's interests name."""
        if not len(request.interests):
            return {"interests_given": 0.0, "interests_shared": 0.0}
        bags, wanted = self.bags.take(request.rows), np.zeros(len(self.rarity))
        wanted[request.interests] = self.rarity[request.interests]
        norm = max(float(np.sqrt((wanted**2).sum())), 1e-9)
        owners = np.repeat(np.arange(len(bags)), np.diff(bags.offsets))
        dots = np.bincount(owners, bags.weights * wanted[bags.ids], minlength=len(bags))
        return {"interests_given": 1.0, "interests_shared": (dots / norm).astype(np.float32)}


def _log_count(counts: Floats) -> Floats:
    """log(1 + count); what is no count counts as 0."""
    logs: Floats = np.log1p(np.maximum(np.nan_to_num(counts, nan=0, posinf=0, neginf=0), 0))
    return logs


def _known(rows: Rows) -> tuple[npt.NDArray[np.bool_], Rows]:
    known = rows != UNKNOWN_ROW
    return known, np.where(known, rows, 0)


def _given(source: str, scores: Floats, ranks: npt.NDArray[np.int32]) -> dict[str, Floats]:
    given = ranks > 0
    return {
        f"{source}_given": given.astype(np.float32),
        f"{source}_score": np.where(given & np.isfinite(scores), scores, 0).astype(np.float32),
        f"{source}_log_rank": np.where(given, -np.log(np.maximum(ranks, 1)), -np.log(1000)).astype(np.float32),
        f"{source}_top": np.where(given, np.exp(-(ranks - 1) / 5), 0).astype(np.float32),
    }


def _neighbours(request: CandidateArrays) -> dict[str, Floats]:
    columns = _given("neighbour", request.neighbour_scores, request.neighbour_ranks)
    score = columns.pop("neighbour_score")
    return columns | {"neighbour_log_score": np.log(np.maximum(score, 0) + _SMALL).astype(np.float32)}


def _had(request: CandidateArrays) -> Mapping[str, Floats]:
    """Whether and how recently the history holds the candidate itself."""
    zeros = np.zeros(len(request.rows), np.float32)
    if not len(request.history_rows):
        return {"had_before": zeros, "had_recently": zeros}
    rows, last = np.unique(request.history_rows[::-1], return_index=True)
    place = np.minimum(np.searchsorted(rows, request.rows), len(rows) - 1)
    had = (rows[place] == request.rows) & (request.rows != UNKNOWN_ROW)
    return {
        "had_before": had.astype(np.float32),
        "had_recently": np.where(had, np.exp(-last[place] / 10), 0).astype(np.float32),
    }


def _moment(request: CandidateArrays) -> Mapping[str, npt.ArrayLike]:
    """The same for every candidate: it moves the probabilities' level, and the interaction may use it."""
    length = len(request.history_rows)
    pause_s = max(0, request.time_ms - int(request.history_times_ms[-1])) / 1000 if length else 0.0
    turn = 2 * np.pi * (request.time_ms % DAY_MS) / DAY_MS
    return {
        "history_length": np.log1p(length),
        "pause": np.log1p(pause_s),
        "hour_sine": np.sin(turn),
        "hour_cosine": np.cos(turn),
    }
