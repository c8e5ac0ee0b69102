"""The denominator of the softmax: every item when the catalogue is small, else a sample that corrects its own bias.

A sampled item j stands for 1 / (M · q_j) items, where q_j is the probability of drawing it: log(M · q_j) is taken off
its logit (Bengio & Senécal 2008; Yi et al. 2019). Half of the sample is uniform, half are targets of the same batch,
which are drawn as often as items are popular; q is the mixture of both.

T targets, M sampled items, N items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Rows = npt.NDArray[np.int64]

IN_BATCH_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Negatives:
    """A sample that all targets of a batch share.

    Attributes:
        rows: (M,) int64 item rows, repeats possible.
        log_expected: (M,) float32, log(M · q) of each.
    """

    rows: Rows
    log_expected: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Shares:
    """How items occur among the events to learn from.

    Attributes:
        seen: (K,) int64 rows of those that occur: an item that nobody had is no fair negative.
        of_targets: (N,) how often each item is a target, summing to 1.
    """

    seen: Rows
    of_targets: npt.NDArray[np.float64]

    @classmethod
    def of(cls, item_rows: npt.NDArray[np.integer], is_target: npt.NDArray[np.bool_], items: int) -> Shares:
        """Count (E,) events over N items."""
        counts = np.bincount(item_rows[is_target], minlength=items).astype(np.float64)
        return cls(np.unique(item_rows).astype(np.int64), counts / max(1.0, counts.sum()))


def sample_negatives(targets: Rows, shares: Shares, size: int, rng: np.random.Generator) -> Negatives:
    """Draw a batch's negatives.

    Args:
        targets: (T,) the batch's own targets.
        shares: of the items.
        size: M.
        rng: draws them.
    """
    from_batch = int(size * IN_BATCH_SHARE)
    uniform = shares.seen[rng.integers(0, len(shares.seen), size - from_batch)]
    rows = np.concatenate([uniform, rng.choice(targets, from_batch)])
    expected = (size - from_batch) / len(shares.seen) + from_batch * shares.of_targets[rows]
    return Negatives(rows, np.log(expected).astype(np.float32))


def sampled_loss(positive: Tensor, negative: Tensor, collides: Tensor, log_expected: Tensor) -> Tensor:
    """Softmax cross-entropy of each target against itself and the sample.

    Args:
        positive: (T,) logits of the targets.
        negative: (T, M) logits of the sample.
        collides: (T, M) where a sampled item is the target itself.
        log_expected: (M,) of `Negatives`.

    Returns:
        (T,) losses.
    """
    corrected = (negative - log_expected).masked_fill(collides, -torch.inf)
    return torch.logsumexp(torch.cat([positive[:, None], corrected], dim=1), dim=1) - positive
