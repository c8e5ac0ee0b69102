"""RecTools' SASRec or LiGR, epoch by epoch: `… rectools_curve FOLDER`, a folder that `rectools_rival.py` has filled.

It reads `asked.json` (how to fit) and `events.npz` (what to learn from, whom to ask), and writes after an epoch
`lists-EPOCH.npy`, the (S, k) item rows for those who are asked, and a line of `curve.jsonl` with the seconds that the
fitting took until then. What the lists take is not counted. It ends when the lists stop getting better, or at the cap.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.transformers.ligr import LiGRLayers

BEGIN = pd.Timestamp("2000-01-01")
MOST_EPOCHS = 1000
NOBODY = -1


def main() -> None:
    """Fit, with a list for everybody now and then."""
    folder = Path(sys.argv[1])
    how = json.loads((folder / "asked.json").read_text())
    events = np.load(folder / "events.npz")
    torch.set_num_threads(1)
    seed_everything(how["seed"], workers=True)
    watch = Watch(folder, how, events)
    layers = {"transformer_layers_type": LiGRLayers} if how["layers"] == "ligr" else {}
    watch.model = SASRecModel(
        n_factors=how["width"],
        n_blocks=how["blocks"],
        n_heads=how["heads"],
        session_max_len=how["length"],
        loss=how["loss"],
        n_negatives=how["negatives"],
        lr=how["learning_rate"],
        batch_size=how["batch"],
        get_trainer_func=lambda: _trainer(watch),
        recommend_torch_device="cpu",
        **layers,
    )
    watch.model.fit(_dataset(events["users"], events["items"]))


@dataclass
class Watch(Callback):
    """Asks for lists between epochs, and keeps the time that the fitting itself takes."""

    folder: Path
    how: dict[str, Any]
    events: Any
    model: Any = None
    aside: np.ndarray = field(default_factory=lambda: np.zeros(2))
    best: float = -1.0
    best_at_cpu: float = 0.0
    measured_at_cpu: float = -math.inf

    def __post_init__(self) -> None:
        """The history of those who are asked is more than what is learned from: the validation event, too."""
        self.begun = _now()
        self.histories = _dataset(self.events["history_users"], self.events["history_items"])

    def __deepcopy__(self, memo: dict[int, Any]) -> Watch:
        """RecTools copies its trainer for each fit; there is only one watch."""
        del memo
        return self

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure when something may have changed, and end when nothing does."""
        cpu, wall = _now() - self.begun - self.aside
        due = cpu - self.measured_at_cpu >= self.how["every_s"]
        if due or cpu >= self.how["cap_s"]:
            before = _now()
            self._measure(trainer.current_epoch + 1, cpu, wall)
            pl_module.train()
            self.aside += _now() - before
        if cpu >= self.how["cap_s"] or cpu - self.best_at_cpu >= self.how["patience_s"]:
            trainer.should_stop = True

    def _measure(self, epoch: int, cpu: float, wall: float) -> None:
        lists, targets = self._lists(), self.events["targets"]
        places = np.where((lists == targets[:, None]).any(axis=1), (lists == targets[:, None]).argmax(axis=1), -1)
        gain = float(np.where(places >= 0, 1 / np.log2(np.maximum(places, 0) + 2.0), 0).mean())
        self.measured_at_cpu = cpu
        if gain > self.best:
            self.best, self.best_at_cpu = gain, cpu
        np.save(self.folder / f"lists-{epoch}.npy", lists)
        with (self.folder / "curve.jsonl").open("a") as file:
            file.write(json.dumps({"epoch": epoch, "cpu_s": cpu, "wall_s": wall}) + "\n")
        print(f"epoch {epoch}: {cpu:.0f} CPU s, NDCG@10 {gain:.4f}", file=sys.stderr, flush=True)

    def _lists(self) -> np.ndarray:
        """(S, k), -1 where RecTools has no more to say."""
        asked, k = self.events["asked"], self.how["k"]
        self.model.is_fitted = True  # it says so itself only at the end
        with torch.inference_mode():
            found = self.model.recommend(asked, self.histories, k, filter_viewed=True, on_unsupported_targets="ignore")
        place = pd.Series(np.arange(len(asked)), index=asked)
        lists = np.full((len(asked), k), NOBODY, np.int32)
        lists[place[found[Columns.User]].to_numpy(), found[Columns.Rank].to_numpy() - 1] = found[Columns.Item]
        return lists


def _dataset(users: np.ndarray, items: np.ndarray) -> Dataset:
    """Events in their order; equal times would let RecTools order them anew."""
    when = BEGIN + pd.to_timedelta(np.arange(len(users)), unit="s")
    return Dataset.construct(
        pd.DataFrame({Columns.User: users, Columns.Item: items, Columns.Weight: 1.0, Columns.Datetime: when})
    )


def _trainer(watch: Watch) -> Trainer:
    return Trainer(
        max_epochs=MOST_EPOCHS, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[watch],
    )  # fmt: skip


def _now() -> np.ndarray:
    return np.array([time.process_time(), time.perf_counter()])


if __name__ == "__main__":
    main()
