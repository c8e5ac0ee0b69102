"""Probabilities that mean what they say: for each action a scale and an offset on the logits, by logistic regression.

Platt scaling (Platt 1999) on requests that the network was not fitted on.
Q requests, C candidates, A actions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

Floats = npt.NDArray[np.float32]

LEAST_POSITIVES = 20
_STEPS = 100


def platt(logits: Floats, happened: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """(scale, offset) such that sigmoid(scale · logit + offset) fits what happened; (1, 0) on too few cases.

    Args:
        logits: (n,).
        happened: (n,).
    """
    if happened.sum() < LEAST_POSITIVES:
        return 1.0, 0.0
    values, wanted = torch.from_numpy(logits.astype(np.float64)), torch.from_numpy(happened.astype(np.float64))
    log_scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    offset = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_scale, offset], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(log_scale.exp() * values + offset, wanted)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]  # torch's
    return float(log_scale.detach().exp()), float(offset.detach())


def calibrated(
    logits: Floats, rows: npt.NDArray[np.int64], targets: npt.NDArray[np.int64], heads: npt.NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """(A,) scales and offsets from requests with known outcomes.

    Args:
        logits: (Q, C, A).
        rows: (Q, C) item rows, -1 behind the end.
        targets: (Q,) what happened.
        heads: (Q,) which action it was, -1 = none of the heads'.
    """
    some = rows >= 0
    scales, offsets = np.ones(logits.shape[-1], np.float32), np.zeros(logits.shape[-1], np.float32)
    for head in range(logits.shape[-1]):
        happened = (rows == targets[:, None]) & (heads == head)[:, None]
        scales[head], offsets[head] = platt(logits[..., head][some], happened[some])
    return scales, offsets
