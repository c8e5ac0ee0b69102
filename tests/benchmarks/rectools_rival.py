"""Runs RecTools in its own environment on a split of ours, and measures the lists that it gives by our own scorer."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.trainer.evaluation import Metrics, Requests, evaluate
from services.trainer.splits import Split
from tests.benchmarks.curves import Curve, Point
from tests.benchmarks.rivals import ROOT, peers_python

K = 10
FULL_SOFTMAX_ITEMS = 4_096
LONG = 50
"""Events of a user on average from which on RecTools is given histories of 200 events, else 50."""

LEAST_BATCH, MOST_BATCH, STEPS = 8, 128, 30
"""RecTools' batch is 128 users; where an epoch would have fewer steps than these it is smaller, which is faster."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How RecTools is fitted, see its documentation; the shape is that of our preset `small`.

    Attributes:
        layers: `sasrec`, or `ligr` (the layers of eSASRec).
        every_s: CPU seconds between two measurements at least.
        cap_s: CPU seconds after which it ends.
        patience_s: CPU seconds without a better list after which it ends.
    """

    layers: str
    length: int
    loss: str
    every_s: float
    cap_s: float
    patience_s: float
    seed: int
    batch: int
    width: int = 64
    blocks: int = 2
    heads: int = 2
    negatives: int = 256
    learning_rate: float = 1e-3
    k: int = K

    @classmethod
    def of(cls, layers: str, split: Split, cap_s: float, seed: int) -> Asked:
        """What suits a data set: full softmax and long histories where the catalogue and users are such."""
        users = len(np.unique(split.train.user_rows))
        return cls(
            layers=layers,
            length=200 if len(split.train) > LONG * users else 50,
            loss="softmax" if len(split.catalogue) <= FULL_SOFTMAX_ITEMS else "sampled_softmax",
            every_s=cap_s / 60,
            cap_s=cap_s,
            patience_s=cap_s / 3,
            seed=seed,
            batch=max(LEAST_BATCH, min(MOST_BATCH, users // STEPS)),
        )


@dataclass(frozen=True, slots=True)
class GivenLists:
    """Lists that somebody else made, as a `Recommender`."""

    name: str
    lists: npt.NDArray[np.int32]
    user_rows: npt.NDArray[np.int32]

    def recommend(self, requests: Requests, k: int) -> npt.NDArray[np.int32]:
        """(B, k) those of the batch's users."""
        return self.lists[np.searchsorted(self.user_rows, requests.user_rows), :k]


def rectools_curve(asked: Asked, split: Split) -> Curve:
    """Fit, and measure every list by `evaluate`.

    Raises:
        RuntimeError: it failed; its words stand above.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "asked.json").write_text(json.dumps(asdict(asked)))
        _write_events(folder / "events.npz", split)
        _run(folder)
        lines = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
        points = [
            Point("fit", each["epoch"], each["cpu_s"], each["wall_s"], _measured(folder, each["epoch"], split))
            for each in lines
        ]
    kind = "SASRec" if asked.layers == "sasrec" else "LiGR"
    return Curve(f"RecTools {kind}, {asked.loss.replace('_', ' ')}", tuple(points))


def _write_events(path: Path, split: Split) -> None:
    histories, events = split.histories, split.interactions
    np.savez(
        path,
        users=split.train.user_rows,
        items=split.train.item_rows,
        history_users=split.user_rows[histories.row_of_each()],
        history_items=events.item_rows[histories.flat],
        asked=split.user_rows,
        targets=split.target_items,
    )


def _run(folder: Path) -> None:
    command = [peers_python(), "-m", "tests.benchmarks.peers.rectools_curve", str(folder)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode:
        raise RuntimeError(f"{' '.join(command)} failed")


def _measured(folder: Path, epoch: int, split: Split) -> Metrics:
    return evaluate(GivenLists("RecTools", np.load(folder / f"lists-{epoch}.npy"), split.user_rows), split, K)
