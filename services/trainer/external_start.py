"""Where the ranker's fitting begins: the retrieval score and the knowledge features, weighed by a conditional logit.

The formula's linear part, scale · û·î + eᵀk, has one best answer that is found in seconds (McFadden 1974: the chance of
the outcome among its candidates). Begun there, the network spends its epochs on what a line cannot say, and a small
data set with few steps still gets the strongest features right.

Q requests, C candidates, K features, d width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from services.trainer.candidates import CandidateLists
from shared.model.ranker_network import RankerNetwork

REQUESTS = 4_000
"""Requests that the line is fitted on at most."""
_RIDGE = 1e-3
_STEPS = 60
_CHUNK = 512

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LinearStart:
    """The best line.

    Attributes:
        scale: of the cosine.
        weights: (K,) of the scaled features.
        level: added to every logit, a request's probabilities sum to about 1.
        loss: mean negative log-likelihood of the outcomes.
    """

    scale: float
    weights: Floats
    level: float
    loss: float

    def put_into(self, network: RankerNetwork) -> None:
        """Every action's head begins here."""
        with torch.no_grad():
            network.scale.fill_(self.scale)
            network.external.weight.copy_(torch.from_numpy(self.weights).expand_as(network.external.weight))
            network.user_bias.bias.fill_(self.level)


def linear_start(cosines: Floats, features: npt.NDArray[np.float16], rows: Rows, outcomes: Rows) -> LinearStart:
    """Fit the line by L-BFGS.

    Args:
        cosines: (Q, C) of the user's and the candidates' vectors.
        features: (Q, C, K) scaled.
        rows: (Q, C) item rows, -1 = no candidate.
        outcomes: (Q,) place of the outcome in its list.
    """
    said = torch.from_numpy(cosines)
    known, absent = torch.from_numpy(features.astype(np.float32)), torch.from_numpy(rows < 0)
    wanted = torch.from_numpy(outcomes)
    scale = torch.full((1,), 10.0, requires_grad=True)
    weights = torch.zeros(features.shape[-1], requires_grad=True)
    optimizer = torch.optim.LBFGS([scale, weights], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def logits() -> Tensor:
        return (scale * said + known @ weights).masked_fill(absent, -torch.inf)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = cross_entropy(logits(), wanted) + _RIDGE * ((scale / 10).square().sum() + weights.square().sum())
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own signature
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch's own signature
    with torch.no_grad():
        level, loss = -float(logits().logsumexp(-1).mean()), float(cross_entropy(logits(), wanted))
    return LinearStart(float(scale.detach()), weights.detach().numpy(), level, loss)


def cosines(users: Floats, items: Floats, lists: CandidateLists) -> Floats:
    """(Q, C) cosines of (Q, d) users with their candidates among (N, d) items; 0 behind the end of a list."""
    out = np.zeros(lists.rows.shape, np.float32)
    for start in range(0, len(users), _CHUNK):
        rows = lists.rows[start : start + _CHUNK]
        near = np.einsum("qd,qcd->qc", users[start : start + _CHUNK], items[np.maximum(rows, 0)])
        out[start : start + _CHUNK] = np.where(rows >= 0, near, 0)
    return out
