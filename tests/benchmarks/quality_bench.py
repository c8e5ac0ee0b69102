"""NDCG@10 against latency, by the number of candidates that are ranked: what the quality factor trades.

usage: python -m tests.benchmarks.quality_bench [--users 300] [--plot quality.png]

Serves the data folder's bundle (its sibling that has not seen the held-out events) with candidate generation, the
ranker's model and the front in one process, and asks for every user's leave-one-out page as of its own moment. The
ranker runs without Ray and gRPC between, so latencies are those of the work alone.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
from pathlib import Path

import numpy as np
import structlog
from rich.console import Console
from rich.table import Table

from services.command.places import data_dir
from services.trainer import metrics
from services.trainer.bundle_evaluation import evaluated_bundle, evaluation_settings
from services.trainer.datasets_opening import DataSource, open_dataset
from services.trainer.splits import leave_one_out
from shared.model.registry import Registry, RegistryError
from tests.benchmarks.offline_services import Asked, Setup, services_of

RANKED = (50, 100, 200, 300, 400, 800)
K, WARM_UP = 10, 30


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--plot", type=Path, help="also draw a picture (needs the extra `plots`)")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder:
        setup = _setup(Path(folder), arguments.users)
        measured = asyncio.run(_measured(setup, Path(folder)))
    _print(setup, measured)
    if arguments.plot:
        _draw(arguments.plot, setup, measured)


def _setup(folder: Path, users: int) -> Setup:
    registry = Registry(str(data_dir().absolute() / "registry"))
    version = registry.current()
    if version is None:
        raise RegistryError(f"{registry.url} holds no bundle; train one with `make run` or `winnow train`")
    dataset = open_dataset(DataSource("ml-100k", cache=data_dir().absolute() / "cache")).dataset
    bundle, note = evaluated_bundle(registry, version, folder / "cache", dataset, "leave-one-out")
    if note:
        Console().print(note)
    split = leave_one_out(dataset).sampled(users, np.random.default_rng(0))
    return Setup(bundle, dataset, split, evaluation_settings(bundle.manifest))


async def _measured(setup: Setup, folder: Path) -> dict[int, Asked]:
    warm_up = setup.split.sampled(WARM_UP, np.random.default_rng(1))
    async with services_of(setup, folder, RANKED) as services:
        found = {}
        for count in RANKED:
            await services.ask(warm_up, K, f"ranked-{count}")
            found[count] = await services.ask(setup.split, K, f"ranked-{count}")
        return found


def _accuracy(setup: Setup, asked: Asked) -> tuple[float, float]:
    ranks = metrics.ranks_of(asked.lists, setup.split.target_items)
    return float(metrics.discounted_gains(ranks, K).mean()), float(metrics.hits(ranks, K).mean())


def _print(setup: Setup, measured: dict[int, Asked]) -> None:
    table = Table("ranked", f"NDCG@{K}", f"HR@{K}", "p50 ms", "p95 ms", box=None)
    for count, asked in measured.items():
        ndcg, hits = _accuracy(setup, asked)
        p50, p95 = np.percentile(asked.latencies_ms, (50, 95))
        table.add_row(str(count), f"{ndcg:.4f}", f"{hits:.4f}", f"{p50:.1f}", f"{p95:.1f}")
    console = Console()
    console.print(f"{setup.bundle.manifest.version}, {len(setup.split)} users")
    console.print(table)


def _draw(path: Path, setup: Setup, measured: dict[int, Asked]) -> None:
    import matplotlib.pyplot as plt  # noqa: PLC0415 - an extra

    figure, axes = plt.subplots(figsize=(6, 4))
    latencies = [float(np.median(asked.latencies_ms)) for asked in measured.values()]
    accuracies = [_accuracy(setup, asked)[0] for asked in measured.values()]
    axes.plot(latencies, accuracies, marker="o")
    for count, latency, accuracy in zip(measured, latencies, accuracies, strict=True):
        axes.annotate(str(count), (latency, accuracy), textcoords="offset points", xytext=(4, 4))
    axes.set(xlabel="p50 of the pipeline, ms", ylabel=f"NDCG@{K}", title="candidates that are ranked")
    figure.savefig(path, bbox_inches="tight")


if __name__ == "__main__":
    main()
