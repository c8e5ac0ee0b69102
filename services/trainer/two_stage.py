"""Retrieval and ranking together, offline, as they are served: a `Recommender` for validation, test and evaluation.

S users of a batch, C candidates of a list.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from services.trainer import evaluation
from services.trainer.candidates import Asking, CandidateFinder, CandidateLists, Quotas, products
from services.trainer.datasets_ragged import Ragged
from services.trainer.evaluation_ranking import blocked_items, top_items
from services.trainer.moments import Moments
from services.trainer.ranking_examples import Requests, known_features
from services.trainer.transition_choice import TransitionsOnly
from shared.model.calibration import Calibration
from shared.model.encoding import PackedHistories, gap_bins
from shared.model.index import best_of
from shared.model.knowledge import KnowledgeSource
from shared.model.ranker import RankerModel
from shared.model.retriever import HistoryInputs, RetrieverModel
from shared.model.user_features import Profiles

Stage = Literal["retrieval", "transitions", "two-stage"]
MODEL_STAGES: dict[str, Stage] = {"retrieval": "retrieval", "transitions": "transitions", "two-stage": "two-stage"}
"""What a bundle can be asked for, by the name that the command line takes."""
Floats = npt.NDArray[np.float32]
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Retrieval:
    """The first stage: vectors and the transition counter.

    Attributes:
        model: the retriever.
        knowledge: what the ranker's features are computed from; its vectors are the retriever's.
        profiles: of all users of the data set, by row.
    """

    model: RetrieverModel
    knowledge: KnowledgeSource
    profiles: Profiles

    def find(self, requests: evaluation.Requests, quotas: Quotas, moments: Moments) -> tuple[Requests, CandidateLists]:
        """The candidates of a batch of users as serving would find them."""
        asked = as_requests(requests, self.model, self.profiles)
        finder = CandidateFinder(
            self.knowledge.vectors, self.knowledge.transitions, requests.catalogue, moments, quotas
        )
        histories = Ragged(requests.histories.flat.astype(np.int64), requests.histories.offsets)
        users = user_vectors(self.model, asked.histories)
        return asked, finder.find(Asking(users, histories, requests.seen, asked.times_s), np.random.default_rng(0))


@dataclass(frozen=True, slots=True)
class TwoStage:
    """Both stages. `stage` says whose order is given.

    Attributes:
        retrieval: the first stage.
        ranker: the second.
        moments: the catalogue's counters at any moment.
        quotas: of the sources.
    """

    retrieval: Retrieval
    ranker: RankerModel
    moments: Moments
    quotas: Quotas
    stage: Stage = "two-stage"

    @property
    def name(self) -> str:
        """For tables and files."""
        return self.stage

    def showing(self, stage: Stage) -> TwoStage:
        """The same models, giving the order of another stage."""
        return replace(self, stage=stage)

    def recommend(self, requests: evaluation.Requests, k: int) -> npt.NDArray[np.int32]:
        """(S, k) distinct unseen item rows, best first; -1 where there is no more."""
        if self.stage == "retrieval":
            return RetrievalOnly(self.retrieval.model, self.retrieval.profiles).recommend(requests, k)
        if self.stage == "transitions":
            return TransitionsOnly(self.retrieval.knowledge.transitions).recommend(requests, k)
        asked, lists = self.retrieval.find(requests, self.quotas, self.moments)
        wanted = engagement(self.logits(asked, lists), self.ranker.parts.calibration)
        return best_of(lists.rows, wanted, k).rows.astype(np.int32)

    def logits(self, asked: Requests, lists: CandidateLists) -> Floats:
        """(S, C, A) the ranker's logits, not calibrated."""
        return ranked(self.ranker, asked, lists, known_features(asked, lists, self.retrieval.knowledge, self.moments))


class RetrievalOnly:
    """A retriever's own order as a `Recommender`, by exact search.

    Args:
        model: the retriever.
        profiles: of all users of the data set, by row.
    """

    name = "retrieval"

    def __init__(self, model: RetrieverModel, profiles: Profiles) -> None:
        self._model, self._items, self._profiles = model, model.catalogue_vectors(), profiles

    def recommend(self, requests: evaluation.Requests, k: int) -> npt.NDArray[np.int32]:
        """(S, k) distinct unseen item rows, best first."""
        asked = as_requests(requests, self._model, self._profiles)
        scores = products(user_vectors(self._model, asked.histories), self._items)
        return top_items(scores, blocked_items(requests.seen, requests.catalogue), k)


@torch.inference_mode()
def user_vectors(model: RetrieverModel, histories: PackedHistories) -> Floats:
    """(S, d) unit vectors, a few users at a time in order of length."""
    out = np.empty((len(histories), model.network.settings.width), np.float32)
    order = np.argsort(histories.lengths, kind="stable")
    for start in range(0, len(order), 2 * _BATCH):
        chosen = order[start : start + 2 * _BATCH]
        inputs = HistoryInputs.of(histories.take(chosen))
        out[chosen] = model.packed_user_vectors(inputs, model.raw_items)
    return out


@torch.inference_mode()
def vectors_at(model: RetrieverModel, asked: Requests) -> Floats:
    """(Q, d) the user vector at each request's place: one pass over a history serves all its requests."""
    out = np.empty((len(asked), model.network.settings.width), np.float32)
    order = np.argsort(asked.histories.lengths, kind="stable")
    for start in range(0, len(order), 2 * _BATCH):
        chosen = order[start : start + 2 * _BATCH]
        users, layout = model.network(HistoryInputs.of(asked.histories.take(chosen)), model.raw_items)
        number = np.full(len(asked.histories), -1)
        number[chosen] = np.arange(len(chosen))
        mine = np.flatnonzero(number[asked.window] >= 0)
        firsts = (torch.cumsum(layout.lengths, 0) - layout.lengths).numpy()
        out[mine] = users[torch.from_numpy(firsts[number[asked.window[mine]]] + asked.places[mine])].numpy()
    return out


@torch.inference_mode()
def ranked(ranker: RankerModel, asked: Requests, lists: CandidateLists, features: npt.NDArray[np.float16]) -> Floats:
    """(S, C, A) logits of one request a history, from unscaled features, a few users at a time in order of length."""
    out = np.zeros((*lists.rows.shape, len(ranker.actions)), np.float32)
    order = np.argsort(asked.histories.lengths, kind="stable")
    for start in range(0, len(order), _BATCH):
        chosen = order[start : start + _BATCH]
        rows = lists.rows[chosen]
        scaled = ranker.parts.calibration.scaler.scaled(features[chosen].astype(np.float32))
        parts, _ = ranker.scored(asked.histories.take(chosen), rows, ranker.raw_items(rows), scaled)
        out[chosen] = parts.sum(-1)
    return out


def engagement(logits: Floats, calibration: Calibration) -> Floats:
    """(…, C) how probable it is that anything wished happens: log of the sum of the heads' probabilities.

    Every head is of an event that tells a wish; surfaces weigh them otherwise, by their settings. In logarithms, so
    that no two candidates become equal by rounding.
    """
    if logits.shape[-1] == 1:
        return logits[..., 0]
    log_probabilities = -np.logaddexp(0, -(calibration.scales * logits + calibration.offsets))
    summed: Floats = np.logaddexp.reduce(log_probabilities, axis=-1).astype(np.float32)
    return summed


def as_requests(requests: evaluation.Requests, model: RetrieverModel, profiles: Profiles) -> Requests:
    """A batch of the evaluation as the models read it: the latest events of each history, encoded.

    Args:
        requests: of some users.
        model: that reads them.
        profiles: of all users of the data set, by row.
    """
    kept = requests.histories.place_from_end() < model.network.settings.history_limit
    lengths = np.minimum(requests.histories.lengths, model.network.settings.history_limit)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    times_ms = np.round(requests.event_times_s[kept] * 1000).astype(np.int64)
    codes = model.scale.codes(requests.event_types[kept].astype(np.int64), requests.values[kept])
    rows = requests.histories.flat[kept].astype(np.int64)
    users = len(requests)
    return Requests(
        histories=PackedHistories(
            offsets, rows, codes, gap_bins(times_ms, offsets), profiles.take(requests.user_rows.astype(np.int64))
        ),
        times_ms=times_ms,
        window=np.arange(users),
        places=lengths.astype(np.int64),
        times_s=requests.request_times_s,
        targets=np.full(users, -1, np.int64),
        kinds=np.zeros(users, np.int64),
    )
