"""Fits the retriever: at every event of every user, the next item against the catalogue.

T targets of a batch, n item vectors of a batch, N items, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from services.trainer.negatives import Negatives, Shares, sample_negatives, sampled_loss
from services.trainer.sequences import TrainingSequences, Windows, batches_by_length, cut_windows
from shared.model.encoding import PackedHistories
from shared.model.item_tower import ItemTable
from shared.model.retriever import HistoryInputs, RetrieverNetwork

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RetrievalTrainingSettings:
    """How the retriever is trained.

    Attributes:
        batch_tokens: events a batch.
        full_softmax_items: up to so many items the softmax is over all of them, above over a sample.
        negatives: size of the sample.
        id_dropout: share of the ids that are hidden, so that content learns to stand alone.
        profile_dropout: share of the histories whose user's interests and attributes are hidden.
    """

    batch_tokens: int = 1024
    full_softmax_items: int = 4096
    negatives: int = 1024
    id_dropout: float = 0.1
    profile_dropout: float = 0.5


@dataclass(frozen=True, slots=True)
class RetrievalBatch:
    """Windows of one batch.

    Attributes:
        inputs: each window without its last event, behind a start token; T tokens in all.
        targets: (T,) item row that follows each token.
        counted: (T,) whether it is to be foretold.
        negatives: the sample; None for the full softmax.
    """

    inputs: PackedHistories
    targets: Rows
    counted: npt.NDArray[np.bool_]
    negatives: Negatives | None


class RetrievalTask:
    """The retriever with its data, for `fitting.fit`.

    Args:
        network: what is fitted.
        table: the catalogue.
        sequences: the events to learn from.
        settings: how.
        validate: measures the network; greater is better.
    """

    def __init__(
        self,
        network: RetrieverNetwork,
        table: ItemTable,
        sequences: TrainingSequences,
        settings: RetrievalTrainingSettings,
        validate: Callable[[], float],
    ) -> None:
        self.network, self.table, self.sequences, self.settings = network, table, sequences, settings
        self.validate = validate
        self._shares = Shares.of(sequences.item_rows, sequences.is_target, len(table))
        self._full = len(self._shares.seen) <= settings.full_softmax_items

    def batches(self, rng: np.random.Generator) -> Iterator[RetrievalBatch]:
        """One epoch: every event once."""
        windows = self._asking(cut_windows(self.sequences.offsets, self.network.settings.history_limit, rng))
        for chosen in batches_by_length(windows.stops - windows.starts, self.settings.batch_tokens, rng):
            batch = self._batch(windows.take(chosen))
            if batch.counted.any():
                yield self._with_negatives(self._hiding(batch, rng), rng)

    def loss(self, batch: RetrievalBatch) -> Tensor:
        """Mean softmax cross-entropy over the counted targets."""
        wanted, inputs, places = self._used_items(batch)
        raw = self.network.tower(self.table.inputs(wanted), self.settings.id_dropout)  # (n, d)
        users, _ = self.network(inputs, raw)  # (T, d)
        counted = torch.from_numpy(batch.counted)
        users = users[counted] / self.network.settings.temperature
        items, target = F.normalize(raw, dim=-1), places.targets[counted]
        if batch.negatives is None:
            return F.cross_entropy(users @ items.T, target)
        negative = users @ items[places.negatives].T  # (T, M)
        collides = places.negatives[None, :] == target[:, None]
        positive = (users * items[target]).sum(-1)
        return sampled_loss(positive, negative, collides, torch.from_numpy(batch.negatives.log_expected)).mean()

    def _asking(self, windows: Windows) -> Windows:
        """Those in which something is to be foretold: of an increment most are context of nothing."""
        targets = np.concatenate(([0], np.cumsum(self.sequences.is_target)))
        return windows.take(np.flatnonzero(targets[windows.stops] > targets[windows.starts]))

    def _batch(self, windows: Windows) -> RetrievalBatch:
        full = self.sequences.packed(windows.starts, windows.stops)
        first = np.zeros(len(full.item_rows), np.bool_)
        first[full.offsets[:-1]] = True
        events = np.arange(len(first)) + np.repeat(windows.starts - full.offsets[:-1], full.lengths)
        counted = self.sequences.is_target[events]
        # What precedes a window's first event is only known where the user begins: there the start token says so.
        counted[full.offsets[:-1][~windows.begins]] = False
        last = np.zeros(len(first), np.bool_)
        last[full.offsets[1:] - 1] = True
        inputs = PackedHistories(full.offsets - np.arange(len(full.offsets)), full.item_rows[~last],
                                 full.event_codes[~last], full.gap_bins[~last], full.profiles)  # fmt: skip
        return RetrievalBatch(inputs, full.item_rows, counted, None)

    def _hiding(self, batch: RetrievalBatch, rng: np.random.Generator) -> RetrievalBatch:
        if (profiles := batch.inputs.profiles) is None:
            return batch
        hidden = profiles.hidden(self.settings.profile_dropout, rng)
        return replace(batch, inputs=replace(batch.inputs, profiles=hidden))

    def _with_negatives(self, batch: RetrievalBatch, rng: np.random.Generator) -> RetrievalBatch:
        if self._full:
            return batch
        targets = batch.targets[batch.counted]
        return replace(batch, negatives=sample_negatives(targets, self._shares, self.settings.negatives, rng))

    def _used_items(self, batch: RetrievalBatch) -> tuple[Rows, HistoryInputs, _Places]:
        """The items whose vectors a batch needs, and everything as places among them."""
        if batch.negatives is None:
            seen = self._shares.seen
            history, targets = (np.searchsorted(seen, rows) for rows in (batch.inputs.item_rows, batch.targets))
            places = _Places(torch.from_numpy(targets), torch.empty(0, dtype=torch.int64))
            return seen, HistoryInputs.of(replace(batch.inputs, item_rows=history)), places
        columns = [batch.inputs.item_rows, batch.targets, batch.negatives.rows]
        wanted, place = np.unique(np.concatenate(columns), return_inverse=True)
        history, targets, negatives = np.split(place.astype(np.int64), np.cumsum([len(part) for part in columns])[:-1])
        inputs = HistoryInputs.of(replace(batch.inputs, item_rows=history))
        return wanted, inputs, _Places(torch.from_numpy(targets), torch.from_numpy(negatives))


@dataclass(frozen=True, slots=True)
class _Places:
    targets: Tensor
    negatives: Tensor
