"""Models of user and item vectors fitted by gradients: a softmax of each event's item against a shared sample.

Wu et al.: On the Effectiveness of Sampled Softmax Loss for Item Recommendation (2022): with it a plain factorisation
and LightGCN are far better than with the pairwise loss of their papers. How long to fit is chosen like any other
setting: a snapshot is kept at each of some epochs. P pairs of a batch, M sampled items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.trainer.baselines.scoring import Scorer, Variants
from services.trainer.datasets_ragged import Ragged

EPOCHS = (5, 10, 20, 40)
PAIRS = 2048
NEGATIVES = 512
LEARNING_RATE = 5e-3
WIDTH = 64

Rows = npt.NDArray[np.int64]


class PairModel(Protocol):
    """Scores pairs of users and items, and can be frozen into a scorer."""

    @property
    def network(self) -> nn.Module:
        """What has parameters."""

    def logits(self, users: Tensor, items: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """(P,) logits of the pairs and (P, M) of the same users with the negatives."""

    def frozen(self) -> Scorer:
        """What it has learned until now."""


def snapshots(model: PairModel, sequences: Ragged, items_count: int, seed: int = 0) -> Variants:
    """Fit a model on who had what; one variant for each of `EPOCHS`."""
    users, items = sequences.row_of_each(), sequences.flat.astype(np.int64)
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=LEARNING_RATE, weight_decay=1e-4)
    rng = np.random.default_rng(seed)
    kept: dict[str, Callable[[], Scorer]] = {}
    for epoch in range(1, max(EPOCHS) + 1):
        for chosen in _batches(len(items), rng):
            negatives = torch.from_numpy(rng.integers(0, items_count, NEGATIVES))
            optimizer.zero_grad(set_to_none=True)
            loss = _loss(model, torch.from_numpy(users[chosen]), torch.from_numpy(items[chosen]), negatives)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own signature
            optimizer.step()
        if epoch in EPOCHS:
            with torch.no_grad():
                kept[f"{epoch} epochs"] = partial(_given, model.frozen())
    return kept


def _loss(model: PairModel, users: Tensor, items: Tensor, negatives: Tensor) -> Tensor:
    positive, negative = model.logits(users, items, negatives)
    negative = negative.masked_fill(negatives[None, :] == items[:, None], -torch.inf)
    logits = torch.cat([positive[:, None], negative], dim=1)
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))


def _batches(pairs: int, rng: np.random.Generator) -> Iterator[Rows]:
    order = rng.permutation(pairs)
    for start in range(0, pairs, PAIRS):
        yield order[start : start + PAIRS]


def _given(scorer: Scorer) -> Scorer:
    return scorer
