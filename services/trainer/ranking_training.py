"""Fits the ranker on served slates, and on requests of the past with candidates that had not seen their outcome.

The losses stand in `ranking_losses.py`. A request sees a fresh sample of its candidates each epoch. Ratings are fitted
beside, at every event that has a value.

Q requests, C candidates of a list, M outcomes of one, S sampled candidates with the outcomes first, B histories of a
batch, P requests a history, K features, A actions, N items, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from services.trainer.ranking_examples import Requests
from services.trainer.ranking_losses import Happened, Labels, ranking_losses, sampled
from services.trainer.sequences import batches_by_length
from shared.model.encoding import PackedHistories
from shared.model.item_tower import ItemTable
from shared.model.ranker_network import EncodedHistories, Queries, RankerNetwork
from shared.model.retriever import HistoryInputs

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_ALL_ITEMS = 4096  # up to so many items the tower is run over all of them


@dataclass(frozen=True, slots=True)
class RankingTrainingSettings:
    """How the ranker is trained.

    Attributes:
        batch_tokens: history events and candidates a batch.
        sampled: S, candidates of a request that an epoch looks at.
        requests_together: P, requests of one user that share its encoded history.
        pointwise: weight of the pointwise loss.
        ratings: weight of the rating loss.
        id_dropout: share of the ids that are hidden.
        profile_dropout: share of the histories whose user's interests and attributes are hidden.
    """

    batch_tokens: int = 4096
    sampled: int = 32
    requests_together: int = 8
    pointwise: float = 0.1
    ratings: float = 0.1
    id_dropout: float = 0.1
    profile_dropout: float = 0.5


@dataclass(frozen=True, slots=True)
class Examples:
    """Requests with their candidates and what came of them.

    Attributes:
        requests: Q of them.
        rows: (Q, C) item rows of the candidates, -1 = none.
        features: (Q, C, K) float16, scaled.
        outcomes: (Q, M) places of the outcomes in their list, -1 = no more; a request may have none.
        actions: (Q, M) action of each outcome, an index of the ranker's heads.
        values: (T,) beside the histories: event values in standard deviations, NaN = none.
        weights: (Q, C) how much each candidate counts; None: all the same.
    """

    requests: Requests
    rows: Rows
    features: npt.NDArray[np.float16]
    outcomes: Rows
    actions: Rows
    values: Floats
    weights: Floats | None = None

    def __len__(self) -> int:
        return len(self.requests)


@dataclass(frozen=True, slots=True)
class RankingBatch:
    """B histories with P requests each, padded.

    Attributes:
        histories: B of them.
        values: (T,) beside their events.
        places: (B, P), -1 = no request.
        rows: (B, P, S) item rows, the outcomes first, -1 = no candidate.
        features: (B, P, S, K).
        labels: what came of them.
    """

    histories: PackedHistories
    values: Floats
    places: Rows
    rows: Rows
    features: Floats
    labels: Labels


class RankingTask:
    """The ranker with its examples, for `fitting.fit`.

    Args:
        network: what is fitted.
        table: the catalogue.
        examples: sets to learn from, each with lists of its own length.
        settings: how.
        validate: measures the network; greater is better.
    """

    def __init__(
        self,
        network: RankerNetwork,
        table: ItemTable,
        examples: Sequence[Examples],
        settings: RankingTrainingSettings,
        validate: Callable[[], float],
    ) -> None:
        self.network, self.table, self.examples, self.settings = network, table, examples, settings
        self.validate = validate
        self._groups = [_grouped(each.requests.window, settings.requests_together) for each in examples]  # (G, P)

    def batches(self, rng: np.random.Generator) -> Iterator[RankingBatch]:
        """One epoch: every request once, with a fresh sample of its candidates; the sets' batches are mixed."""
        planned = [(part, chosen) for part in range(len(self.examples)) for chosen in self._planned(part, rng)]
        if len(self.examples) > 1:
            planned = [planned[place] for place in rng.permutation(len(planned))]
        for part, chosen in planned:
            yield self._batch(self.examples[part], self._groups[part][chosen], rng)

    def _planned(self, part: int, rng: np.random.Generator) -> list[Rows]:
        """Groups of one set, by batch."""
        groups, requests = self._groups[part], self.examples[part].requests
        candidates = (groups >= 0).sum(axis=1) * min(self.settings.sampled, self.examples[part].rows.shape[1])
        sizes = requests.histories.lengths[requests.window[groups[:, 0]]] + candidates
        return batches_by_length(sizes, self.settings.batch_tokens, rng)

    def loss(self, batch: RankingBatch) -> Tensor:
        """Listwise, pointwise and rating losses, weighted."""
        encoded, raw, history, rows = self.encoded(batch, self.settings.id_dropout)
        parts = self.network(encoded, self._queries(batch, raw, rows))
        listwise, pointwise = ranking_losses(parts.sum(-1), batch.labels, batch.rows)
        ratings = self.rating_loss(batch, encoded, raw, history) if self.settings.ratings else torch.zeros(())
        return listwise + self.settings.pointwise * pointwise + self.settings.ratings * ratings

    def encoded(self, batch: RankingBatch, id_dropout: float = 0.0) -> tuple[EncodedHistories, Tensor, Tensor, Tensor]:
        """The histories, the (n, d) raw vectors of the batch's items, and history and candidates as places in these."""
        wanted, history, rows = self._used_items(batch)
        raw = self.network.tower(self.table.inputs(wanted), id_dropout)  # (n, d)
        inputs = replace(HistoryInputs.of(batch.histories), items=history)
        return self.network.encode(inputs, raw), raw, history, rows

    def _batch(self, data: Examples, groups: Rows, rng: np.random.Generator) -> RankingBatch:
        some, request, windows = groups >= 0, np.maximum(groups, 0), data.requests.window[groups[:, 0]]  # (B, P)
        outcomes, listed = data.outcomes[request], data.rows[request]
        chosen = sampled(listed, outcomes, self.settings.sampled, rng)  # (B, P, S)
        place = np.maximum(chosen, 0)
        rows = np.where((chosen >= 0) & some[:, :, None], np.take_along_axis(listed, place, axis=2), -1)
        features = data.features[request[:, :, None], place].astype(np.float32)
        weights = None if data.weights is None else np.take_along_axis(data.weights[request], place, axis=2)
        counts = ((listed >= 0).sum(axis=2), (rows >= 0).sum(axis=2))
        happened = Happened(chosen, outcomes, data.actions[request])
        _, events = data.requests.histories.places_of(windows)
        histories = data.requests.histories.take(windows)
        if histories.profiles is not None:
            histories = replace(histories, profiles=histories.profiles.hidden(self.settings.profile_dropout, rng))
        return RankingBatch(
            histories=histories,
            values=data.values[events],
            places=np.where(some, data.requests.places[request], -1),
            rows=rows,
            features=features,
            labels=Labels.of(happened, len(self.network.scale), counts, weights),
        )

    def _used_items(self, batch: RankingBatch) -> tuple[Rows, Tensor, Tensor]:
        """Rows whose vectors are needed; history and candidates as places among them."""
        history, rows = batch.histories.item_rows, np.maximum(batch.rows, 0)
        if len(self.table) <= _ALL_ITEMS:
            return np.arange(len(self.table)), torch.from_numpy(history), torch.from_numpy(rows)
        wanted, place = np.unique(np.concatenate([history, rows.ravel()]), return_inverse=True)
        place = place.astype(np.int64)
        return wanted, torch.from_numpy(place[: len(history)]), torch.from_numpy(place[len(history) :]).view(rows.shape)

    def _queries(self, batch: RankingBatch, raw: Tensor, places: Tensor) -> Queries:
        rows = torch.from_numpy(np.maximum(batch.rows, 0))
        biases = self.network.item_bias(rows)
        return Queries(torch.from_numpy(batch.places), raw[places], biases, torch.from_numpy(batch.features))

    def rating_loss(self, batch: RankingBatch, encoded: EncodedHistories, raw: Tensor, history: Tensor) -> Tensor:
        """Squared error of each event's value, foretold from the events before it."""
        known = np.isfinite(batch.values)
        if not known.any():
            return torch.zeros(())
        owners = np.repeat(np.arange(len(batch.histories)), batch.histories.lengths)[known]
        places = (np.arange(len(known)) - np.repeat(batch.histories.offsets[:-1], batch.histories.lengths))[known]
        users = encoded.users[torch.from_numpy(owners), torch.from_numpy(places)]  # before the event: its own place
        chosen = torch.from_numpy(known)
        ids = torch.from_numpy(batch.histories.item_rows[known])
        foretold = self.network.rating(users, raw[history[chosen]], ids)
        return F.mse_loss(foretold, torch.from_numpy(batch.values[known]))


class RatingTask:
    """The rating head by itself, for a ranker that validation liked best as it began: the other weights stay.

    Args:
        whole: the ranker with its examples.
    """

    def __init__(self, whole: RankingTask) -> None:
        self.network, self._whole = whole.network.rating, whole

    def batches(self, rng: np.random.Generator) -> Iterator[RankingBatch]:
        """Those of the ranker in which anything has a value."""
        return (batch for batch in self._whole.batches(rng) if np.isfinite(batch.values).any())

    def loss(self, batch: RankingBatch) -> Tensor:
        """Mean squared error."""
        with torch.no_grad():
            encoded, raw, history, _ = self._whole.encoded(batch)
        return self._whole.rating_loss(batch, encoded, raw, history)

    def validate(self) -> float:
        """Nothing is chosen by ratings."""
        return nan


def _grouped(window: Rows, together: int) -> Rows:
    """(G, P) requests of the same history side by side, -1 where there are fewer."""
    starts = np.flatnonzero(np.diff(window, prepend=-1))
    lengths = np.diff(np.append(starts, len(window)))
    chunks = -(-lengths // together)
    owner = np.repeat(np.arange(len(starts)), chunks)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(chunks) - chunks, chunks)
    first = starts[owner] + number * together
    last = np.minimum(first + together, starts[owner] + lengths[owner])
    groups = first[:, None] + np.arange(together)
    return np.where(groups < last[:, None], groups, -1)
