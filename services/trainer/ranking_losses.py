"""What the ranker's fitting makes small: two losses over the candidates of a request, by action.

Listwise, each outcome against the other candidates of its request, and pointwise per action, which gives the
probabilities their level. A sample of the candidates stands for all of them, and so do its logits and weights. What was
shown and not taken is a negative of every action; what was done in several ways is an outcome of each.

C candidates of a list, M outcomes of one, S sampled candidates with the outcomes first, B histories of a batch,
P requests a history, R requests of a batch, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

Rows = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Happened:
    """What was drawn of the lists, and what came of them.

    Attributes:
        chosen: (B, P, S) places in the lists, -1 = none.
        outcomes, actions: (B, P, M) place and action of each outcome, -1 = no more.
    """

    chosen: Rows
    outcomes: Rows
    actions: Rows


@dataclass(frozen=True, slots=True)
class Labels:
    """What the losses compare with.

    Attributes:
        wanted: (B, P, S, A) float32, 1 where this was done with the candidate, else 0.
        stands_for: (B, P, S) candidates of the whole list that each sampled one stands for.
        weights: (B, P, S) how much each counts beside.
    """

    wanted: Floats
    stands_for: Floats
    weights: Floats

    @classmethod
    def of(cls, happened: Happened, actions: int, counts: tuple[Rows, Rows], weights: Floats | None) -> Labels:
        """Label a sample.

        Args:
            happened: the sample and what came of it.
            actions: A.
            counts: (B, P) candidates of the whole lists, and of the sample.
            weights: (B, P, S) of the candidates; None: all the same.
        """
        known = (happened.outcomes >= 0) & (happened.actions >= 0)
        hit = (happened.chosen[..., :, None] == happened.outcomes[..., None, :]) & known[..., None, :]  # (B, P, S, M)
        kind = happened.actions[..., None] == np.arange(actions)  # (B, P, M, A)
        wanted = (hit.astype(np.float32) @ kind.astype(np.float32)) > 0  # (B, P, S, A)
        outcomes = wanted.any(axis=-1)
        listed, drawn = (count - outcomes.sum(axis=-1) for count in counts)
        others = np.maximum(listed / np.maximum(drawn, 1), 1)[..., None]
        stands_for = np.where(outcomes, 1, others).astype(np.float32)
        return cls(wanted.astype(np.float32), stands_for, np.ones_like(stands_for) if weights is None else weights)


def sampled(rows: Rows, outcomes: Rows, size: int, rng: np.random.Generator) -> Rows:
    """(…, S) places in each list: its outcomes first, then others at random; -1 where the list is shorter.

    Args:
        rows: (…, C) item rows, -1 = none.
        outcomes: (…, M) places in the list, -1 = no more.
        size: S at most.
        rng: draws.
    """
    keys = rng.random(rows.shape, dtype=np.float32)
    keys[rows < 0] = 2
    happened = (outcomes[..., None] == np.arange(rows.shape[-1])).any(axis=-2)  # (…, C)
    keys[happened & (rows >= 0)] = -1
    width = min(size, rows.shape[-1])
    chosen = np.argpartition(keys, width - 1, axis=-1)[..., :width]
    picked = np.take_along_axis(keys, chosen, axis=-1)
    order = np.argsort(picked, axis=-1)
    chosen, picked = np.take_along_axis(chosen, order, axis=-1), np.take_along_axis(picked, order, axis=-1)
    return np.where(picked < 2, chosen, -1)


def ranking_losses(logits: Tensor, labels: Labels, rows: Rows) -> tuple[Tensor, Tensor]:
    """The mean listwise loss of the requests with an outcome and the mean pointwise loss of all.

    Args:
        logits: (B, P, S, A).
        labels: what came of the candidates.
        rows: (B, P, S) item rows, -1 = no candidate.
    """
    there = rows >= 0
    real = there.any(axis=-1)  # (B, P)
    candidates = torch.from_numpy(there[real])[..., None]  # (R, S, 1)
    stands_for = torch.from_numpy(labels.stands_for[real])[..., None]
    weights = torch.from_numpy(labels.weights[real])[..., None]
    wanted = torch.from_numpy(labels.wanted[real]) * candidates  # (R, S, A)
    logits = logits[torch.from_numpy(real)]
    spread = (logits + stands_for.log()).masked_fill(~candidates, -torch.inf)
    surprise = torch.logsumexp(spread, dim=1, keepdim=True) - logits  # (R, S, A)
    outcomes = wanted.sum((1, 2))  # (R,)
    listwise = (surprise * wanted * weights).sum((1, 2)) / outcomes.clamp(min=1)
    errors = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    pointwise = (errors * stands_for * weights * candidates).sum((1, 2))
    return listwise.sum() / (outcomes > 0).sum().clamp(min=1), pointwise.sum() / max(1, len(pointwise))
