"""What beginning as another domain's bundle gains where data are few: `--init-from`, films to films and to a shop.

usage: python -m tests.benchmarks.transfer_bench --films FOLDER --shop FOLDER [--users 50 --users 200] [--seeds 3]

A bundle of FILMS and one of MovieLens-100K are trained; then small parts of MovieLens begin as the first and small
parts of SHOP as the second, and the same from nothing. A part is the whole history of some users, drawn anew for each
seed; each is measured leave-one-out on all items of the part. Everything but `--init-from` is the same.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from services.command.places import data_dir
from services.trainer.app import Workplace, train
from services.trainer.content_stage import with_content
from services.trainer.datasets import Dataset
from services.trainer.datasets_assembly import assemble, raw_events_of
from services.trainer.datasets_opening import BUILT_IN, DataSource, open_dataset
from services.trainer.metrics import discounted_gains
from services.trainer.metrics_intervals import bootstrap_difference
from services.trainer.preprocessing import CleaningOptions, clean
from services.trainer.presets import TrainingSettings
from services.trainer.progress import silent
from services.trainer.training import StageMetrics
from shared.kernel.clock import system_clock
from shared.model.content_opening import content_with, open_frozen_text_encoder
from shared.model.registry import Registry

STAGES = ("retrieval", "two_stage")
Gains = dict[str, list[npt.NDArray[np.float64]]]


@dataclass(frozen=True, slots=True)
class Transfer:
    """From where to where."""

    name: str
    source: Dataset
    target: Dataset


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", required=True, help="a folder of films beside MovieLens-100K")
    parser.add_argument("--shop", required=True, help="a folder of anything else")
    parser.add_argument("--users", action="append", type=int, help="of a part; default: 50 and 200")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset", default="tiny")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=150)
    films, movielens, shop = (_opened(each) for each in (arguments.films, BUILT_IN, arguments.shop))
    heads = ("from, to", "users", "stage", "NDCG@10 from nothing", "begun as a bundle", "difference, 95 %", "relative")
    table = Table(*heads, box=box.MARKDOWN)
    settings = replace(TrainingSettings(preset=arguments.preset), final_fit=False, recall_target=0.0)
    with tempfile.TemporaryDirectory() as folder:
        place = Workplace(Registry(f"{folder}/registry"), Path(folder) / "work", system_clock)
        for transfer in (
            Transfer(f"{films.name}, {movielens.name}", films, movielens),
            Transfer(f"{movielens.name}, {shop.name}", movielens, shop),
        ):
            version = train(transfer.source, settings, place, silent).publication.version
            for users in arguments.users or (50, 200):
                compared = _compared(transfer, users, arguments.seeds, replace(settings, init_from=version), place)
                for row in compared:
                    table.add_row(transfer.name, str(users), *row)
                    console.print(transfer.name, users, *row, f"load {os.getloadavg()[0]:.1f}", highlight=False)
    console.print(table)


def _opened(location: str) -> Dataset:
    dataset, _ = clean(
        open_dataset(DataSource(location, cache=data_dir().absolute() / "cache")).dataset, CleaningOptions()
    )
    vectors = content_with(open_frozen_text_encoder())
    try:
        return with_content(dataset, vectors, silent)[0]
    finally:
        vectors.close()


def _compared(
    transfer: Transfer, users: int, seeds: int, begun: TrainingSettings, place: Workplace
) -> Iterator[Sequence[str]]:
    """The rows of both stages, over the users of all seeds."""
    without, with_start = _nothing(), _nothing()
    for seed in range(seeds):
        part = _part(transfer.target, users, np.random.default_rng([seed, users]))
        for gains, init_from in ((without, ""), (with_start, begun.init_from)):
            settings = replace(begun, init_from=init_from, seed=seed)
            _add(gains, train(part, settings, place, silent).test)
    for stage in STAGES:
        ours, theirs = np.concatenate(with_start[stage]), np.concatenate(without[stage])
        low, high = bootstrap_difference(ours, theirs, np.random.default_rng(0))
        difference, level = float((ours - theirs).mean()), float(theirs.mean())
        yield (
            stage.replace("_", "-"),
            f"{level:.4f}",
            f"{ours.mean():.4f}",
            f"{difference:+.4f} ({low:+.4f} to {high:+.4f})",
            f"{difference / level:+.0%}" if level else "",
        )


def _part(dataset: Dataset, users: int, rng: np.random.Generator) -> Dataset:
    """Some users with all their events, and the items that these mention."""
    events = dataset.interactions
    chosen = rng.choice(np.unique(events.user_rows), users, replace=False)
    kept = np.isin(events.user_rows, chosen)
    items = [dataset.item_details[row] for row in np.unique(events.item_rows[kept]).tolist()]
    people = [dataset.user_details[row] for row in np.sort(chosen).tolist()]
    return assemble(raw_events_of(dataset, kept), items, people, f"{users} users of {dataset.name}")


def _nothing() -> Gains:
    return {stage: [] for stage in STAGES}


def _add(gains: Gains, test: StageMetrics) -> None:
    for stage in STAGES:
        metrics = getattr(test, stage)
        gains[stage].append(discounted_gains(metrics.ranks, metrics.k))


if __name__ == "__main__":
    main()
