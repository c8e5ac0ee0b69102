"""Fits the ranker on requests of the past whose candidates came from a retriever that had not seen their outcome.

Two losses: listwise, the outcome against the other candidates of its request, and pointwise per action, which gives
the probabilities their level. A request sees a fresh sample of its candidates each epoch; the logits and the pointwise
weights of the sample stand for all of them. Ratings are fitted beside, at every event that has a value.

Q requests, C candidates of a list, S sampled ones with the outcome first, B histories of a batch, P requests a history,
K features, A actions, N items, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from services.trainer.candidates import CandidateLists
from services.trainer.ranking_examples import Requests
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
    """Requests whose outcome is among their candidates.

    Attributes:
        requests: Q of them.
        lists: their candidates.
        features: (Q, C, K) float16, scaled.
        outcomes: (Q,) place of the outcome in its list.
        actions: (Q,) action of the outcome, an index of the ranker's heads.
        values: (T,) beside the histories: event values in standard deviations, NaN = none.
    """

    requests: Requests
    lists: CandidateLists
    features: npt.NDArray[np.float16]
    outcomes: Rows
    actions: Rows
    values: Floats

    def __len__(self) -> int:
        return len(self.requests)


@dataclass(frozen=True, slots=True)
class RankingBatch:
    """B histories with P requests each, padded.

    Attributes:
        histories: B of them.
        values: (T,) beside their events.
        places: (B, P), -1 = no request.
        rows: (B, P, S) item rows, the outcome first, -1 = no candidate.
        features: (B, P, S, K).
        actions: (B, P).
        stands_for: (B, P) candidates of the whole list that one sampled candidate stands for.
    """

    histories: PackedHistories
    values: Floats
    places: Rows
    rows: Rows
    features: Floats
    actions: Rows
    stands_for: Floats


class RankingTask:
    """The ranker with its examples, for `fitting.fit`.

    Args:
        network: what is fitted.
        table: the catalogue.
        examples: to learn from.
        settings: how.
        validate: measures the network; greater is better.
    """

    def __init__(
        self,
        network: RankerNetwork,
        table: ItemTable,
        examples: Examples,
        settings: RankingTrainingSettings,
        validate: Callable[[], float],
    ) -> None:
        self.network, self.table, self.examples, self.settings = network, table, examples, settings
        self.validate = validate
        self._groups = _grouped(examples.requests.window, settings.requests_together)  # (G, P)

    def batches(self, rng: np.random.Generator) -> Iterator[RankingBatch]:
        """One epoch: every request once, with a fresh sample of its candidates."""
        windows = self.examples.requests.window[self._groups[:, 0]]
        candidates = (self._groups >= 0).sum(axis=1) * self.settings.sampled
        sizes = self.examples.requests.histories.lengths[windows] + candidates
        for chosen in batches_by_length(sizes, self.settings.batch_tokens, rng):
            yield self._batch(self._groups[chosen], windows[chosen], rng)

    def loss(self, batch: RankingBatch) -> Tensor:
        """Listwise, pointwise and rating losses, weighted."""
        wanted, history, rows = self._used_items(batch)
        raw = self.network.tower(self.table.inputs(wanted), self.settings.id_dropout)  # (n, d)
        inputs = HistoryInputs.of(batch.histories)
        inputs = replace(inputs, items=history)
        encoded = self.network.encode(inputs, raw)
        parts = self.network(encoded, self._queries(batch, raw, rows))
        listwise, pointwise = _ranking_losses(parts.sum(-1), batch)
        ratings = self._rating_loss(batch, encoded, raw, history) if self.settings.ratings else torch.zeros(())
        return listwise + self.settings.pointwise * pointwise + self.settings.ratings * ratings

    def _batch(self, groups: Rows, windows: Rows, rng: np.random.Generator) -> RankingBatch:
        data = self.examples
        some, request = groups >= 0, np.maximum(groups, 0)  # (B, P)
        chosen = _sampled(data.lists.rows[request], data.outcomes[request], self.settings.sampled, rng)  # (B, P, S)
        rows = np.take_along_axis(data.lists.rows[request], np.maximum(chosen, 0), axis=2)
        rows = np.where((chosen >= 0) & some[:, :, None], rows, -1)
        features = data.features[request[:, :, None], np.maximum(chosen, 0)].astype(np.float32)
        others = (data.lists.rows[request] >= 0).sum(axis=2) - 1
        taken = np.maximum((rows >= 0).sum(axis=2) - 1, 1)
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
            actions=data.actions[request],
            stands_for=np.maximum(others / taken, 1).astype(np.float32),
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

    def _rating_loss(self, batch: RankingBatch, encoded: EncodedHistories, raw: Tensor, history: Tensor) -> Tensor:
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


def _sampled(rows: Rows, outcomes: Rows, size: int, rng: np.random.Generator) -> Rows:
    """(…, S) places in each list: the outcome first, then others at random; -1 where the list is shorter."""
    keys = rng.random(rows.shape, dtype=np.float32)
    keys[rows < 0] = 2
    np.put_along_axis(keys, outcomes[..., None], -1, axis=-1)
    width = min(size, rows.shape[-1])
    chosen = np.argpartition(keys, width - 1, axis=-1)[..., :width]
    picked = np.take_along_axis(keys, chosen, axis=-1)
    order = np.argsort(picked, axis=-1)
    chosen, picked = np.take_along_axis(chosen, order, axis=-1), np.take_along_axis(picked, order, axis=-1)
    return np.where(picked < 2, chosen, -1)


def _ranking_losses(logits: Tensor, batch: RankingBatch) -> tuple[Tensor, Tensor]:
    """(B, P, S, A) logits → the mean listwise and the mean pointwise loss of the requests."""
    real = torch.from_numpy(batch.places >= 0)
    candidates = torch.from_numpy(batch.rows >= 0)
    actions = torch.from_numpy(batch.actions)
    stands_for = torch.from_numpy(batch.stands_for)[..., None]  # (B, P, 1)
    own = logits.gather(-1, actions[:, :, None, None].expand(*logits.shape[:3], 1)).squeeze(-1)  # (B, P, S)
    weights = torch.cat([torch.ones_like(stands_for), stands_for.expand(*own.shape[:2], own.shape[2] - 1)], dim=2)
    spread = (own + weights.log()).masked_fill(~candidates, -torch.inf)[real]
    listwise = (torch.logsumexp(spread, dim=-1) - own[real][:, 0]).mean()
    wanted = torch.zeros_like(logits)
    wanted[:, :, 0] = F.one_hot(actions, logits.shape[-1]).float()
    errors = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(-1)  # (B, P, S)
    pointwise = (errors * weights * candidates)[real].sum(-1).mean()
    return listwise, pointwise
