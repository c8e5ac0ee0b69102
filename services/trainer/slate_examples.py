"""Served slates as examples of the ranker: the inputs that were recorded, and everything that was done with them.

Which slates may teach follows from what the models have seen. The retriever whose knowledge the examples are described
with must not have seen what came of them; and what is measured on must stay unseen by all.

Q slates, C entries of the longest, K features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from services.trainer.datasets import Dataset
from services.trainer.ranking_examples import Requests
from services.trainer.ranking_training import Examples
from services.trainer.retrieval_stage import Encoded
from services.trainer.slates import AnsweredSlate
from shared.domain.vocabulary import UNKNOWN_ROW
from shared.model.described_candidates import described
from shared.model.encoding import pack_histories
from shared.model.knowledge import NAMES, KnowledgeSource
from shared.model.ranker import RankerModel

Rows = npt.NDArray[np.int64]
Times = npt.NDArray[np.float64]

LATER = 0.2
"""Share of the slates, the latest, that nothing learns from where no cut in time says which they are."""


@dataclass(frozen=True, slots=True)
class DividedSlates:
    """Which slates are for what.

    Attributes:
        learned: the ranker learns from these.
        judged: those behind all that was learned, with an answer that no model has seen; they end its fitting.
        later: those behind these, for the gate.
    """

    learned: tuple[AnsweredSlate, ...] = ()
    judged: tuple[AnsweredSlate, ...] = ()
    later: tuple[AnsweredSlate, ...] = ()


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Until when the models know of each user, (U,) Unix seconds by row of the data set.

    Attributes:
        described_s: the last event that the describing retriever saw, -inf = none.
        held_s: the first event that no model has seen, +inf = none.
    """

    described_s: Times
    held_s: Times

    @classmethod
    def of(cls, data: Encoded, for_retriever: Rows) -> Knowledge:
        """From what may be learned from.

        Args:
            data: with the validation split.
            for_retriever: indexes of the train events that the describing retriever is fitted on.
        """
        every, train = data.validation.interactions, data.train
        described, held = np.full(every.users_count, -np.inf), np.full(every.users_count, np.inf)
        np.maximum.at(described, train.user_rows[for_retriever], train.times_s[for_retriever])
        kept = np.ones(len(every), np.bool_)
        kept[data.validation.train_events] = False
        np.minimum.at(held, every.user_rows[kept], every.times_s[kept])
        return cls(described, held)


def divided(slates: Sequence[AnsweredSlate], dataset: Dataset, known: Knowledge, cut_s: float) -> DividedSlates:
    """Divide the slates, oldest first, by what the models know of their users.

    Args:
        slates: oldest first.
        dataset: whose users they are.
        known: until when the models know of each.
        cut_s: of a split in time; -inf where there is none.
    """
    if not slates:
        return DividedSlates()
    served = np.array([each.served_ms for each in slates]) / 1000
    until_s = cut_s if np.isfinite(cut_s) else float(np.quantile(served, 1 - LATER))
    rows = dataset.users.rows([each.user_id for each in slates])
    described = np.where(rows >= 0, known.described_s[rows], -np.inf)
    held = np.where(rows >= 0, known.held_s[rows], np.inf)
    first = np.array([each.times_ms.min() if len(each.times_ms) else -np.inf for each in slates]) / 1000
    last = np.array([each.times_ms.max() if len(each.times_ms) else -np.inf for each in slates]) / 1000
    learned = (served >= described) & (served < np.minimum(held, until_s)) & (last < np.minimum(held, until_s))
    later = (served >= until_s) & np.isfinite(first) & (first >= np.where(np.isfinite(held), held, until_s))
    unseen = [each for each, chosen in zip(slates, later, strict=True) if chosen]
    half = len(unseen) // 2
    return DividedSlates(
        tuple(each for each, chosen in zip(slates, learned, strict=True) if chosen),
        tuple(unseen[:half]),
        tuple(unseen[half:]),
    )


def slate_examples(slates: Sequence[AnsweredSlate], model: RankerModel, knowledge: KnowledgeSource) -> Examples:
    """The examples of at least one slate.

    Args:
        slates: to learn from.
        model: that will learn, for its encodings, heads and scale of features.
        knowledge: that describes the entries; it has not seen what came of them.
    """
    parts, limit = model.parts, model.parts.network.settings.encoder.history_limit
    packed = pack_histories([each.history for each in slates], parts.vocabulary, parts.scale, limit)
    packed = replace(packed, profiles=parts.encoding.profiles([each.user for each in slates]))
    times_ms = np.concatenate([each.history.latest(limit).times_ms for each in slates])
    requests = Requests(
        histories=packed,
        times_ms=times_ms,
        window=np.arange(len(slates)),
        places=packed.lengths,
        times_s=np.array([each.time_ms for each in slates]) / 1000,
        targets=np.full(len(slates), -1, np.int64),
        kinds=np.zeros(len(slates), np.int64),
    )
    width = max(len(each) for each in slates)
    weights = _padded([each.weights for each in slates], width, 0)
    rows = _padded([parts.vocabulary.rows(each.candidates.item_ids) for each in slates], width, UNKNOWN_ROW)
    features = np.zeros((len(slates), width, len(NAMES)), np.float16)
    for number, slate in enumerate(slates):
        own = rows[number, : len(slate)].astype(np.int64)
        arrays = described(slate.request, packed, number, own)
        features[number, : len(slate)] = parts.calibration.scaler.scaled(knowledge.features(arrays))
    outcomes, actions = _outcomes(slates, model.actions)
    return Examples(
        requests=requests,
        rows=np.where(weights > 0, rows, UNKNOWN_ROW).astype(np.int64),
        features=features,
        outcomes=outcomes,
        actions=actions,
        values=np.full(len(times_ms), np.nan, np.float32),
        weights=weights.astype(np.float32),
    )


def _outcomes(slates: Sequence[AnsweredSlate], actions: tuple[int, ...]) -> tuple[Rows, Rows]:
    """(Q, M) places and actions of what was done, -1 where there is no more; kinds without a head are left out."""
    heads = np.full(max(actions, default=0) + 1, -1, np.int64)
    heads[list(actions)] = np.arange(len(actions))
    places, kinds = [], []
    for slate in slates:
        own = np.where(slate.kinds < len(heads), heads[np.minimum(slate.kinds, len(heads) - 1)], -1)
        places.append(slate.places[own >= 0])
        kinds.append(own[own >= 0])
    width = max(1, *(len(each) for each in places))
    return _padded(places, width, -1).astype(np.int64), _padded(kinds, width, -1).astype(np.int64)


def _padded(rows: Sequence[npt.NDArray[np.generic]], width: int, missing: float) -> npt.NDArray[np.float64]:
    out = np.full((len(rows), width), missing)
    for number, row in enumerate(rows):
        out[number, : len(row)] = row
    return out
