"""How long retrieval takes: each source alone, the whole answer, and how soon a new item is found.

    python -m tests.benchmarks.retrieval_bench                    # MovieLens-100K, a retriever trained for a minute
    python -m tests.benchmarks.retrieval_bench --registry DIR     # the bundle that a registry serves
    python -m tests.benchmarks.retrieval_bench --synthetic 100000 # that many made-up items, an untrained retriever

One request at a time, in process, real histories, everything consumed excluded. Prints p50, p99 and
core time a request in milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import uvloop

from services.candidate_generation.app import CandidateGenerationApp
from services.candidate_generation.settings import DEFAULT_QUOTAS
from services.trainer.datasets import Dataset
from services.trainer.datasets_opening import DataSource, open_dataset
from shared.domain.conditions import ItemFilter
from shared.domain.history import History
from shared.domain.items import Item
from shared.domain.retrieval import RetrievalRequest, RetrievalResult
from shared.domain.services import CandidateGeneration
from shared.domain.user_state import TopItems, TopOrder
from shared.kernel.clock import system_clock
from shared.kernel.logs import configure_logs
from shared.model.registry import Registry
from shared.model.retriever import RetrieverSettings
from tests.integration.candidate_generation.trained_bundle import Effort, World, history_of_world, seal_bundle, trained
from tests.unit.candidate_generation.memory_features import MemoryFeatures
from tests.unit.candidate_generation.running import over_grpc, quick_settings, running
from tests.unit.candidate_generation.waiting import until

_HISTORY_EVENTS = 200
_FULL = RetrieverSettings.model_validate({"width": 64, "heads": 2, "blocks": 2, "dropout": 0.0, "history_limit": 200})


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", help="folder or URL of a registry whose bundle is measured, on MovieLens-100K")
    parser.add_argument("--synthetic", type=int, default=0, help="number of made-up items instead of MovieLens-100K")
    parser.add_argument("--requests", type=int, default=500, help="requests measured a row")
    parser.add_argument("--exact", action="store_true", help="exact search instead of Annoy")
    options = parser.parse_args()
    configure_logs("error")
    world = _made_up(options.synthetic) if options.synthetic else _movielens(Path(".winnow/cache"))
    with tempfile.TemporaryDirectory() as folder:
        registry = options.registry or _published(Path(folder), world, steps=0 if options.synthetic else 60)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_measure(Path(folder), registry, world, options))


def _movielens(cache: Path) -> World:
    dataset: Dataset = open_dataset(DataSource("ml-100k", cache=cache)).dataset
    events, sequences = dataset.interactions, dataset.interactions.by_user()
    histories = []
    for user in range(len(sequences)):
        mine = sequences.events_of(user)
        histories.append(
            History(
                tuple(dataset.items.ids[row] for row in events.item_rows[mine]),
                events.event_types[mine].astype(np.int32),
                events.values[mine],
                (events.times_s[mine] * 1000).astype(np.int64),
            )
        )
    return World(dataset.item_details, tuple(histories))


def _made_up(count: int) -> World:
    rng = np.random.default_rng(1)
    items = tuple(
        Item(
            f"item-{number}",
            title=f"word{rng.integers(5000)} word{rng.integers(5000)} {number}",
            categories=(f"category-{number % 40}", f"shelf-{rng.integers(400)}"),
            attributes={"price": float(rng.integers(1, 1000))},
        )
        for number in range(count)
    )
    picks = rng.integers(0, count, (300, 120))
    return World(items, tuple(history_of_world([items[place].item_id for place in row]) for row in picks))


def _published(folder: Path, world: World, steps: int) -> str:
    torch.set_num_threads(2)
    begun = time.perf_counter()
    model = trained(world, Effort(steps=steps, users_a_step=64, settings=_FULL))
    sealed = seal_bundle(folder / "bundle", world, model, system_clock())
    registry = Registry(str(folder / "registry"))
    registry.publish(sealed)
    print(f"bundle of {len(world.items)} items made in {time.perf_counter() - begun:.0f} s")
    return str(folder / "registry")


async def _measure(folder: Path, registry: str, world: World, options: argparse.Namespace) -> None:
    features = MemoryFeatures()
    features.upsert(*world.items)
    _set_top_lists(features, world)
    settings = quick_settings(
        folder, registry_url=registry, exact_search=options.exact, top_lists_poll_seconds=2.0, bundle_poll_seconds=1.0
    )
    begun = time.perf_counter()
    async with running(settings, features) as app:
        await until(lambda: app.hosted.readiness.ready and bool(app.bundle_status().version), patience_seconds=600)
        print(
            f"serving {len(world.items)} items after {time.perf_counter() - begun:.1f} s; load {os.getloadavg()[0]:.1f}"
        )
        await _tables(app, features, world, options.requests)


async def _tables(app: CandidateGenerationApp, features: MemoryFeatures, world: World, count: int) -> None:
    requests = _requests(world, count)
    every = {name: quota for name, quota in DEFAULT_QUOTAS.items() if name not in {"similar", "search"}}
    await _row(app.candidates, "warm-up", requests[:50])
    print(f"{'milliseconds':28}{'p50':>8}{'p99':>8}{'cores':>9}{'candidates':>12}")
    for name, quota in DEFAULT_QUOTAS.items():
        await _row(app.candidates, name, [replace(each, quotas={name: quota}) for each in requests])
    whole = [replace(each, quotas=every, seed_item_ids=(), query_text="") for each in requests]
    results = await _row(app.candidates, "whole answer", whole)
    await _row(app.candidates, "whole, one category", [_in_category(each, world) for each in whole])
    async with over_grpc(app) as (client, _):
        await _row(client, "whole, over gRPC", whole)
    print(f"answered by {results[0].provenance.index_version}")
    await _freshness(app.candidates, features, whole[0], world.items[0].categories)


def _requests(world: World, count: int) -> list[RetrievalRequest]:
    rng = np.random.default_rng(2)
    users = rng.integers(0, len(world.histories), count)
    return [
        RetrievalRequest(
            world.histories[user].latest(_HISTORY_EVENTS),
            system_clock(),
            filter=ItemFilter(exclude_item_ids=frozenset(world.histories[user].item_ids)),
            seed_item_ids=(world.histories[user].item_ids[-1],),
            query_text=world.items[int(rng.integers(len(world.items)))].title,
        )
        for user in users
    ]


def _in_category(request: RetrievalRequest, world: World) -> RetrievalRequest:
    category = world.items[len(request.history) % len(world.items)].categories[:1]
    return replace(request, filter=replace(request.filter, include_categories=frozenset(category)))


async def _row(port: CandidateGeneration, name: str, requests: Sequence[RetrievalRequest]) -> list[RetrievalResult]:
    times, results, begun_cpu = [], [], time.process_time()
    for request in requests:
        begun = time.perf_counter()
        results.append(await port.retrieve(request, budget_ms=5_000))
        times.append((time.perf_counter() - begun) * 1000)
    p50, p99 = np.percentile(times, [50, 99])
    found = np.mean([len(result.item_ids) for result in results])
    core_ms = (time.process_time() - begun_cpu) * 1000 / len(requests)
    print(f"{name:28}{p50:8.2f}{p99:8.2f}{core_ms:9.2f}{found:12.0f}")
    return results


async def _freshness(
    port: CandidateGeneration, features: MemoryFeatures, request: RetrievalRequest, categories: tuple[str, ...]
) -> None:
    async def delay(change: Callable[[], None], *, present: bool) -> float:
        begun = time.perf_counter()
        change()
        while ("just-now" in (await port.retrieve(asked, budget_ms=5_000)).item_ids) is not present:
            await asyncio.sleep(0.001)
        return (time.perf_counter() - begun) * 1000

    asked = replace(request, quotas={"fresh": 5})
    item = Item("just-now", title="Just now", categories=categories)
    up = await delay(lambda: features.upsert(item), present=True)
    down = await delay(lambda: features.delete("just-now"), present=False)
    print(f"a new item is found after {up:.1f} ms, a deleted one is gone after {down:.1f} ms")


def _set_top_lists(features: MemoryFeatures, world: World) -> None:
    counts: dict[str, int] = {}
    for history in world.histories:
        for item_id in history.item_ids:
            counts[item_id] = counts.get(item_id, 0) + 1
    categories = {item.item_id: item.categories for item in world.items}
    best = sorted(counts, key=lambda item_id: (-counts[item_id], item_id))
    for order in TopOrder:
        features.top[order, ""] = _top(best, counts)
        for category in {name for names in categories.values() for name in names}:
            features.top[order, category] = _top([each for each in best if category in categories[each]], counts)


def _top(item_ids: Sequence[str], counts: dict[str, int]) -> TopItems:
    kept = tuple(item_ids[:1000])
    return TopItems(kept, tuple(float(counts[item_id]) for item_id in kept))


if __name__ == "__main__":
    main()
