"""The matrix-factorisation formula by itself: r̂ = uᵀi + b_u + b_i + eᵀk.

Koren, Bell, Volinsky: Matrix Factorization Techniques for Recommender Systems (2009), equation 4, with a linear term in
external knowledge k of the item: how often it was taken, how often of late, and how long it has been there. The user's
vector is that of training, whatever has happened since. U users, I items, D factors, K facts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from services.trainer.baselines.factors import WIDTH, snapshots
from services.trainer.baselines.scoring import Floats, Scorer, TrainingSet, Variants
from services.trainer.evaluation import Requests

_RECENT_SHARE = 0.1
"""The last tenth of the training's events is "of late"."""


@dataclass(frozen=True, slots=True)
class Factorisation:
    """The formula, fitted for as long as validation likes."""

    seed: int = 0

    def fit(self, training: TrainingSet) -> Variants:
        """Fit once, with a snapshot at some epochs."""
        torch.manual_seed(self.seed)
        model = _FormulaModel(_Formula(training.events.users_count, training.items_count, item_facts(training)))
        return snapshots(model, training.sequences(), training.items_count, self.seed)


def item_facts(training: TrainingSet) -> Floats:
    """(I, 3) log counts of all events and of late ones, and the share of the time that the item has been there."""
    rows, times = training.events.item_rows, training.events.times_s
    late = rows[int(len(rows) * (1 - _RECENT_SHARE)) :]
    first: npt.NDArray[np.float64] = np.full(training.items_count, times[-1])
    first[rows[::-1]] = times[::-1]
    age = (times[-1] - first) / max(1.0, times[-1] - times[0])
    counts = [np.bincount(part, minlength=training.items_count) for part in (rows, late)]
    return np.stack([*np.log1p(counts), age], axis=1).astype(np.float32)


class _Formula(nn.Module):
    def __init__(self, users: int, items: int, facts: Floats) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(users, WIDTH), nn.Embedding(items, WIDTH)
        for embedding in (self.users, self.items):
            nn.init.normal_(embedding.weight, std=0.1)
        self.user_bias, self.item_bias = nn.Parameter(torch.zeros(users)), nn.Parameter(torch.zeros(items))
        self.external = nn.Linear(facts.shape[1], 1, bias=False)
        self.facts = torch.from_numpy(facts)

    def item_level(self) -> Tensor:
        """(I,) b_i + eᵀk."""
        level: Tensor = self.item_bias + self.external(self.facts).squeeze(-1)
        return level


@dataclass(frozen=True, slots=True)
class _FormulaModel:
    network: _Formula

    def logits(self, users: Tensor, items: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        net, level = self.network, self.network.item_level()
        vectors, bias = net.users(users), net.user_bias[users]
        positive = (vectors * net.items(items)).sum(-1) + bias + level[items]
        return positive, vectors @ net.items(negatives).T + bias[:, None] + level[negatives]

    def frozen(self) -> Scorer:
        net = self.network
        tensors = (net.users.weight, net.items.weight, net.user_bias, net.item_level())
        return _FormulaScorer(*(tensor.detach().clone().numpy() for tensor in tensors))


@dataclass(frozen=True, slots=True)
class _FormulaScorer:
    users: Floats  # (U, D)
    items: Floats  # (I, D)
    user_bias: Floats  # (U,)
    item_level: Floats  # (I,)

    def scores(self, requests: Requests) -> Floats:
        vectors = self.users[requests.user_rows]
        scores: Floats = vectors @ self.items.T + self.user_bias[requests.user_rows, None] + self.item_level
        return scores
