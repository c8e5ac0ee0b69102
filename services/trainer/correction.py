"""The ranker's last step: a line over its own logits and the knowledge features, fitted for NDCG on validation.

The likelihood that the ranker is fitted by cares for the whole list, NDCG@10 for its top; and what the ranker learned
on is not asked exactly as users will ask. So the requests that judge the ranker also say how far to trust it beside
each feature: the line maximises a smooth NDCG (Qin, Liu, Li 2010: a rank is one plus the sum of sigmoids of score
differences), held near "the ranker as it is" by a ridge. It counts only when lists by lines that were fitted on the
other requests are better beyond noise. A line over logit and features is nothing new to the network: it goes into the
weights of its heads, and is served and explained with them.

Q requests, C candidates, A actions, K features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from services.trainer import metrics
from services.trainer.metrics_intervals import bootstrap_difference
from shared.model.index import best_of
from shared.model.ranker_network import RankerNetwork

FOLDS = 5
"""Each fifth of the requests is judged by a line that the others gave."""

LEAST_REQUESTS = 100
"""Requests with the outcome among their candidates from which on a line is fitted."""

RIDGE = 1e-3
_STEPS = 60
_NOWHERE = -1e4  # score of a candidate that is not there

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Judged:
    """Requests that the ranker was not fitted on, with its logits and what happened.

    Attributes:
        logits: (Q, C, A).
        features: (Q, C, K) scaled.
        rows: (Q, C) item rows, -1 = no candidate.
        targets: (Q,) item rows.
    """

    logits: Floats
    features: Floats
    rows: Rows
    targets: Rows

    def take(self, chosen: npt.NDArray[np.bool_]) -> Judged:
        """Some of the requests."""
        return Judged(self.logits[chosen], self.features[chosen], self.rows[chosen], self.targets[chosen])

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """(Q,) whether the outcome is among the candidates."""
        found: npt.NDArray[np.bool_] = (self.rows == self.targets[:, None]).any(axis=1)
        return found


@dataclass(frozen=True, slots=True)
class Correction:
    """New logit = gain · logit + weights · features, for every action.

    Attributes:
        gain: of the ranker's own logits.
        weights: (K,) of the scaled features.
    """

    gain: float
    weights: Floats

    def put_into(self, network: RankerNetwork) -> None:
        """Correct the network's heads: every logit is a sum of what they give."""
        with torch.no_grad():
            for held in (
                network.scale, network.user_bias.weight, network.user_bias.bias, network.item_bias.weight,
                network.content_bias.weight, network.external.weight, network.interaction.weight,
            ):  # fmt: skip
                held.mul_(self.gain)
            network.external.weight.add_(torch.from_numpy(self.weights))

    def wanted(self, judged: Judged) -> Floats:
        """(Q, C) how much each candidate is wanted after the correction."""
        with torch.no_grad():
            logits, features = torch.from_numpy(judged.logits), torch.from_numpy(judged.features)
            scores: Floats = engaged(
                self.gain * logits + (features @ torch.from_numpy(self.weights))[..., None]
            ).numpy()
        return scores


def correction_of(judged: Judged, rng: np.random.Generator) -> Correction | None:
    """The line for a ranker, None where it is not clearly better than the ranker alone, or where too little is known.

    Args:
        judged: requests that the ranker was not fitted on.
        rng: divides them, and draws the bootstrap.
    """
    if judged.found.sum() < LEAST_REQUESTS:
        return None
    fold = rng.permutation(len(judged.rows)) % FOLDS
    after = np.empty(len(judged.rows))
    for number in range(FOLDS):
        asked = judged.take(fold == number)
        line = fitted(judged.take(fold != number))
        after[fold == number] = gains_of(asked.rows, line.wanted(asked), asked.targets)
    before = gains_of(judged.rows, engaged(torch.from_numpy(judged.logits)).numpy(), judged.targets)
    low, _ = bootstrap_difference(after, before, rng)
    return fitted(judged) if low > 0 else None


def fitted(judged: Judged) -> Correction:
    """The line by L-BFGS, begun at the ranker as it is."""
    known = judged.take(judged.found)
    places = torch.from_numpy((known.rows == known.targets[:, None]).argmax(axis=1))
    logits, features = torch.from_numpy(known.logits), torch.from_numpy(known.features)
    absent = torch.from_numpy(known.rows < 0)
    gain = torch.ones(1, requires_grad=True)
    weights = torch.zeros(features.shape[-1], requires_grad=True)
    optimizer = torch.optim.LBFGS([gain, weights], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        scores = engaged(gain * logits + (features @ weights)[..., None]).masked_fill(absent, _NOWHERE)
        away = RIDGE * ((gain - 1).square().sum() + weights.square().sum())
        loss = away - smooth_ndcg(scores, places)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own signature
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch's own signature
    return Correction(float(gain.detach()), weights.detach().numpy())


def smooth_ndcg(scores: Tensor, places: Tensor) -> Tensor:
    """NDCG of one outcome a request, with ranks that have a gradient.

    Args:
        scores: (Q, C).
        places: (Q,) of the outcomes.
    """
    ahead = torch.sigmoid(scores - scores.gather(1, places[:, None])).sum(dim=1)  # the outcome itself counts a half
    return (1 / torch.log2(ahead + 1.5)).mean()


def engaged(logits: Tensor) -> Tensor:
    """(…, A) → (…) how probable it is that anything wished happens, see `two_stage.engagement`, uncalibrated."""
    if logits.shape[-1] == 1:
        return logits[..., 0]
    return F.logsigmoid(logits).logsumexp(-1)


def gains_of(rows: Rows, wanted: Floats, targets: Rows) -> npt.NDArray[np.float64]:
    """(Q,) discounted gain at 10 of the order that (Q, C) scores give."""
    found = best_of(rows, wanted, 10).rows.astype(np.int32)
    return metrics.discounted_gains(metrics.ranks_of(found, targets.astype(np.int32)), 10)
