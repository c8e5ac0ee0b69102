"""RecTools' own `recommend()` for one user: `… rectools_recommend SHAPE SECONDS`, SHAPE as JSON. Prints a `Speed`.

RecTools serves nothing: this is a call in the process, for the best 10 of all items. A SASRec of the same shape as
Winnow's ranker is fitted for an epoch on made-up events; what it learnt makes no difference to its speed.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

USERS, EVENTS, K = 943, 100, 10
WARM_UP = 10


def main() -> None:
    """Fit, ask, print."""
    shape, seconds = json.loads(sys.argv[1]), float(sys.argv[2])
    torch.set_num_threads(1)
    dataset = made_up(shape["items"])
    model = SASRecModel(
        n_factors=shape["width"],
        n_blocks=shape["blocks"],
        n_heads=shape["heads"],
        session_max_len=shape["history_limit"],
        epochs=1,
        get_trainer_func=_trainer,
        recommend_torch_device="cpu",
    ).fit(dataset)
    users = iter(np.random.default_rng(1).integers(USERS, size=1_000_000))
    for _ in range(WARM_UP):
        model.recommend([next(users)], dataset, K, filter_viewed=True)
    took, end = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        model.recommend([next(users)], dataset, K, filter_viewed=True)
        took.append(time.perf_counter() - began)
    p50, p99 = np.percentile(took, (50, 99)) * 1e3
    print(json.dumps({"rate": len(took) / sum(took), "p50_ms": p50, "p99_ms": p99}))


def made_up(items: int) -> Dataset:
    """As many users and events as MovieLens-100K has."""
    rng = np.random.default_rng(0)
    events = pd.DataFrame(
        {
            Columns.User: np.repeat(np.arange(USERS), EVENTS),
            Columns.Item: np.concatenate([rng.choice(items, EVENTS, replace=False) for _ in range(USERS)]),
            Columns.Weight: 1.0,
            Columns.Datetime: pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(USERS * EVENTS), unit="s"),
        }
    )
    return Dataset.construct(events)


def _trainer() -> Trainer:
    return Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
