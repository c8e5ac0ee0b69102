"""What the ranker is asked and what it answers, in columns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from shared.domain.bundles import TrainedBundle
from shared.domain.history import History
from shared.domain.items import Item, Scalar, User

Floats = npt.NDArray[np.float32]
D = TypeVar("D", bound=np.generic)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What a caller says about the moment of a request; empty strings and 0 mean not said."""

    locale: str = ""
    device: str = ""
    time_ms: int = 0
    attributes: dict[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidates:
    """N candidates in columns; each column is either empty (not known) or has length N.

    Attributes:
        item_ids: the items, each once.
        ages_days: (N,) float32, -1 = unknown.
        popularity: (N,) float32, decayed count of consuming events, half-life of a week.
        trend: (N,) float32, the same with half-life of a day.
        retrieval_scores: (N,) float32 cosine of the retriever, 0 where it did not give the item.
        retrieval_ranks: (N,) int32 from 1, 0 where the retriever did not give the item.
        neighbour_scores, neighbour_ranks: the same of the recent-item neighbours.
        new_items: content of the candidates that are newer than the ranker's bundle, by item id.
        creator_ids, primary_categories: "" = none; caps and diversity go by them.
    """

    item_ids: tuple[str, ...]
    ages_days: Floats
    popularity: Floats
    trend: Floats
    retrieval_scores: Floats
    retrieval_ranks: npt.NDArray[np.int32]
    neighbour_scores: Floats
    neighbour_ranks: npt.NDArray[np.int32]
    new_items: dict[str, Item] = field(default_factory=dict)
    creator_ids: tuple[str, ...] = ()
    primary_categories: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.item_ids)

    def take(self, rows: npt.NDArray[np.int32]) -> Candidates:
        """The candidates at these rows, in this order."""
        item_ids = tuple(self.item_ids[row] for row in rows)
        return Candidates(
            item_ids=item_ids,
            ages_days=_taken(self.ages_days, rows),
            popularity=_taken(self.popularity, rows),
            trend=_taken(self.trend, rows),
            retrieval_scores=_taken(self.retrieval_scores, rows),
            retrieval_ranks=_taken(self.retrieval_ranks, rows),
            neighbour_scores=_taken(self.neighbour_scores, rows),
            neighbour_ranks=_taken(self.neighbour_ranks, rows),
            new_items={name: self.new_items[name] for name in item_ids if name in self.new_items},
            creator_ids=tuple(self.creator_ids[row] for row in rows) if self.creator_ids else (),
            primary_categories=tuple(self.primary_categories[row] for row in rows) if self.primary_categories else (),
        )


@dataclass(frozen=True, slots=True)
class RankingRequest:
    """A user and candidates to score for them.

    Attributes:
        time_ms: the moment that the scores are for, Unix milliseconds.
        budget_ms: time left for the answer; the transport's deadline does not reach the model.
        explain: also give the additive parts of each logit.
        leave_out: also score without each of this many latest events, one at a time.
        describe_bundle: also tell what the bundle is.
    """

    history: History
    candidates: Candidates
    time_ms: int
    user: User | None = None
    context: RequestContext = RequestContext()
    budget_ms: int = 1000
    explain: bool = False
    leave_out: int = 0
    describe_bundle: bool = False

    def without_each(self) -> list[RankingRequest]:
        """The questions that answer `leave_out`: the history without one of its latest events, the latest first."""
        latest = range(len(self.history) - 1, max(-1, len(self.history) - 1 - self.leave_out), -1)
        return [replace(self, history=self.history.without(row), leave_out=0, explain=False) for row in latest]


@dataclass(frozen=True, slots=True)
class ScoreParts:
    """The additive parts of the logits.

    Attributes:
        names: P names, e.g. `user_item`, `user_bias`, `item_bias`, `external`, `interaction`.
        values: (N, A, P) float32; their sum over P is the logit.
        scales, offsets: (A,) float32; probability = sigmoid(scale · logit + offset).
    """

    names: tuple[str, ...]
    values: Floats
    scales: Floats
    offsets: Floats


@dataclass(frozen=True, slots=True)
class RankingResult:
    """Scores in the order of the request's candidates.

    Attributes:
        actions: A codes of `EventType`: the columns of `probabilities`.
        probabilities: (N, A) float32, calibrated, finite.
        ratings: (N,) float32 expected rating; length 0 when the bundle saw no ratings.
        parts: the additive parts when asked for.
        model_version: the bundle that answered.
        data_watermark: log position up to which the bundle's training data goes; "" = not known.
        keep_retrieval_order: the bundle's gate found the retriever's own order better.
        without_event: (E, N, A) float32 probabilities without one event each, the latest event's first; E = 0 when
            they were not asked for.
        keep_neighbour_order: it found the order of the neighbours source, the transition counter, best of all.
        bundle: what was trained, when that was asked for.
    """

    actions: tuple[int, ...]
    probabilities: Floats
    ratings: Floats
    parts: ScoreParts | None
    model_version: str
    data_watermark: str = ""
    keep_retrieval_order: bool = False
    without_event: Floats = field(default_factory=lambda: np.empty((0, 0, 0), np.float32))
    keep_neighbour_order: bool = False
    bundle: TrainedBundle | None = None


def _taken(column: npt.NDArray[D], rows: npt.NDArray[np.int32]) -> npt.NDArray[D]:
    return column[rows] if len(column) else column
