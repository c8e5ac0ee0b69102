"""LightGCN: vectors of users and items, smoothed over the graph of who had what.

He et al.: LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation (2020), equations 7 and 8,
with the loss of `factors`. At a request a user's neighbours are the items of the history, those that came after the
training included. U users, I items, D factors, K layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor, nn

from services.trainer.baselines.factors import WIDTH, snapshots
from services.trainer.baselines.scoring import Floats, Scorer, TrainingSet, Variants, history_matrix
from services.trainer.evaluation import Requests

LAYERS = 2
TEMPERATURE = 0.1


@dataclass(frozen=True, slots=True)
class LightGcn:
    """The graph's model, fitted for as long as validation likes."""

    seed: int = 0

    def fit(self, training: TrainingSet) -> Variants:
        """Fit once, with a snapshot at some epochs."""
        torch.manual_seed(self.seed)
        model = _GraphModel(_Graph(training.user_item_matrix()))
        return snapshots(model, training.sequences(), training.items_count, self.seed)


class _Graph(nn.Module):
    def __init__(self, matrix: sparse.csr_array[Any, Any]) -> None:
        super().__init__()
        self.users, self.items = (nn.Embedding(count, WIDTH) for count in matrix.shape)
        for embedding in (self.users, self.items):
            nn.init.normal_(embedding.weight, std=0.1)
        rows, columns = (np.maximum(matrix.sum(axis=axis), 1) ** -0.5 for axis in (1, 0))
        self.item_norms = columns.astype(np.float32)
        normed = sparse.diags_array(rows) @ matrix @ sparse.diags_array(columns)
        self.to_users, self.to_items = _tensor(normed), _tensor(normed.T)

    def layers(self) -> tuple[list[Tensor], list[Tensor]]:
        """(U, D) and (I, D) after 0, 1, … K steps over the graph."""
        users, items = [self.users.weight], [self.items.weight]
        for _ in range(LAYERS):
            users_next, items_next = self.to_users @ items[-1], self.to_items @ users[-1]
            users.append(users_next)
            items.append(items_next)
        return users, items


@dataclass(frozen=True, slots=True)
class _GraphModel:
    network: _Graph

    def logits(self, users: Tensor, items: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        every_user, every_item = (F.normalize(torch.stack(layers).sum(0), dim=-1) for layers in self.network.layers())
        vectors = every_user[users] / TEMPERATURE
        return (vectors * every_item[items]).sum(-1), vectors @ every_item[negatives].T

    def frozen(self) -> Scorer:
        users, items = self.network.layers()
        below = torch.stack(items[:-1]).sum(0).detach().numpy() * self.network.item_norms[:, None]
        final = F.normalize(torch.stack(items).sum(0), dim=-1).detach().numpy()
        return _GraphScorer(users[0].detach().clone().numpy(), below, final)


@dataclass(frozen=True, slots=True)
class _GraphScorer:
    users: Floats  # (U, D) before any step
    neighbours: Floats  # (I, D) what an item adds to the users that have it
    items: Floats  # (I, D) unit

    def scores(self, requests: Requests) -> Floats:
        matrix = history_matrix(requests)
        norms = np.maximum(matrix.sum(axis=1), 1)[:, None] ** -0.5
        vectors = self.users[requests.user_rows] + norms * (matrix @ self.neighbours)
        scores: Floats = (vectors @ self.items.T).astype(np.float32)
        return scores


def _tensor(matrix: sparse.sparray) -> Tensor:
    held = matrix.tocoo()
    places = torch.from_numpy(np.stack(held.coords).astype(np.int64))
    values = torch.from_numpy(held.data.astype(np.float32))
    return torch.sparse_coo_tensor(places, values, held.shape, check_invariants=True).coalesce()
