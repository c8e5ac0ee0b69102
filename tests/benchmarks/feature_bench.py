"""What the feature service takes: replaying the log, showing a write, reading a user and items.

Run as `python -m tests.benchmarks.feature_bench [--events 200000] [--users 5000] [--items 20000] [--reads 2000]`.
Nothing is asserted: it prints a table. Replay is given twice: all CPU of the process (reading and decoding the log
included), and the feature service's own share (applying and storing), because the log's reader has a budget of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.feature import projection, sqlite_store
from services.feature.app import FeatureApp, open_feature
from services.feature.settings import FeatureSettings
from services.feedback.app import FeedbackApp, open_feedback
from services.feedback.settings import FeedbackSettings
from shared.clients.features import GrpcFeatures
from shared.domain.events import Event
from shared.domain.items import Item
from shared.domain.services import Features
from shared.domain.user_state import TopOrder
from shared.domain.watermark import Watermark
from shared.kernel.client import open_channel
from shared.kernel.clock import system_clock
from shared.kernel.server import GrpcServer

BUDGET_MS = 60_000.0


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    events: int
    users: int
    items: int
    reads: int


@dataclass
class OwnTime:
    """CPU seconds of the feature service's own work, summed over its threads."""

    seconds: float = 0.0

    def watch(self) -> None:
        """Measure what applies and what stores from now on."""
        apply, commit = projection.Projection.apply, sqlite_store._commit

        async def timed_apply(self_: projection.Projection, records: object, now_ms: int) -> None:
            begin = time.thread_time()
            await apply(self_, records, now_ms)  # type: ignore[arg-type]  # passed through
            self.seconds += time.thread_time() - begin

        def timed_commit(db: object, changes: object) -> None:
            begin = time.thread_time()
            commit(db, changes)  # type: ignore[arg-type]  # passed through
            self.seconds += time.thread_time() - begin

        projection.Projection.apply = timed_apply  # type: ignore[method-assign, assignment]
        sqlite_store._commit = timed_commit


def events(sizes: Sizes, random: np.random.Generator) -> list[Event]:
    """Clicks of a month: popular items more often, users in turn."""
    now_ms = system_clock()
    users = random.integers(sizes.users, size=sizes.events)
    items = (sizes.items * random.random(sizes.events) ** 3).astype(int)
    step_ms = 30 * 86_400_000 / sizes.events
    return [
        Event(
            f"bench-{n:012d}-{user:08x}", f"user-{user}", f"item-{item}", 3, int(now_ms - (sizes.events - n) * step_ms)
        )
        for n, (user, item) in enumerate(zip(users, items, strict=True))
    ]


async def fill(feedback: FeedbackApp, sizes: Sizes) -> None:
    """Write the log once."""
    random = np.random.default_rng(1)
    categories = [f"category-{n}" for n in range(18)]
    items = [Item(f"item-{n}", title=f"Title {n}", categories=(categories[n % 18],)) for n in range(sizes.items)]
    made = events(sizes, random)
    for facts in (items, made):
        for start in range(0, len(facts), 5_000):
            await feedback.log.append(facts[start : start + 5_000])


async def replay(feedback: FeedbackApp, folder: Path, sizes: Sizes, own: OwnTime) -> None:
    """Fill an empty store from the log."""
    begin, cpu, own.seconds = time.perf_counter(), time.process_time(), 0.0
    async with open_feature(
        FeatureSettings.model_validate({"data_dir": folder}), system_clock, feedback.feedback
    ) as app:
        await app.hosted.readiness.wait_ready()
        await app.dump()
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    records = sizes.events + sizes.items
    row("replay, records/s (wall)", records / wall)
    row("replay, records/s a core, log included", records / cpu)
    row("replay, records/s a core, own share", records / own.seconds)
    row("peak memory, MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


async def visible_after(feedback: FeedbackApp, features: Features, label: str, reads: int) -> None:
    """Time from the acknowledgement of a write to the answer that shows it."""
    random = np.random.default_rng(2)
    times = []
    for turn in range(reads):
        user_id = f"user-{random.integers(1000)}"
        written = Event(f"{label}-{turn}", user_id, "item-1", 3, system_clock())
        position = await feedback.log.append([written])
        begin = time.perf_counter()
        state = await features.user_state(user_id, position, history_limit=200, budget_ms=BUDGET_MS)
        times.append(time.perf_counter() - begin)
        if state.history.event_ids[-1] != written.event_id:
            sys.exit(f"{written.event_id} is not visible at {position}")
    latency(f"visible after acknowledgement, {label}", times)


async def reads(features: Features, label: str, sizes: Sizes) -> None:
    """Reads of warm state."""
    random = np.random.default_rng(3)
    users = [f"user-{n}" for n in range(100)]
    batches = [[f"item-{n}" for n in random.choice(sizes.items, 300, replace=False)] for _ in range(50)]

    def user(turn: int) -> Awaitable[object]:
        return features.user_state(users[turn % 100], Watermark(), history_limit=200, budget_ms=BUDGET_MS)

    def items(turn: int) -> Awaitable[object]:
        return features.items(batches[turn % 50])

    def top(_: int) -> Awaitable[object]:
        return features.top_items(TopOrder.POPULAR, limit=100)

    calls: dict[str, Callable[[int], Awaitable[object]]] = {"user_state": user, "300 items": items, "top 100": top}
    for name, call in calls.items():
        for turn in range(100):
            await call(turn)
        times = []
        for turn in range(sizes.reads):
            begin = time.perf_counter()
            await call(turn)
            times.append(time.perf_counter() - begin)
        latency(f"{name}, {label}", times)


async def changed_user(app: FeatureApp, feedback: FeedbackApp, count: int) -> None:
    """A read after each change of the user: the state is built again."""
    times = []
    for turn in range(count):
        position = await feedback.log.append(
            [Event(f"changed-{turn}", "heavy", f"item-{turn % 500}", 3, system_clock())]
        )
        await app.features.user_state("nobody", position, history_limit=1, budget_ms=BUDGET_MS)
        begin = time.perf_counter()
        await app.features.user_state("heavy", Watermark(), history_limit=200, budget_ms=BUDGET_MS)
        times.append(time.perf_counter() - begin)
    latency("user_state after a change, in process", times[-200:])


def row(name: str, value: float) -> None:
    """One line of the table."""
    print(f"{name:<52}{value:>14,.0f}")


def latency(name: str, seconds: list[float]) -> None:
    """Median and 99th percentile in microseconds."""
    p50, p99 = np.percentile(np.array(seconds) * 1e6, [50, 99])
    print(f"{name:<52}{p50:>10,.0f} µs p50{p99:>10,.0f} µs p99")


async def run(sizes: Sizes, folder: Path) -> None:
    """Everything in turn."""
    own = OwnTime()
    own.watch()
    async with open_feedback(FeedbackSettings.model_validate({"data_dir": folder}), system_clock) as feedback:
        await fill(feedback, sizes)
        await replay(feedback, folder, sizes, own)
        settings = FeatureSettings.model_validate({"data_dir": folder})
        async with (
            open_feature(settings, system_clock, feedback.feedback) as app,
            GrpcServer("127.0.0.1:0", [app.hosted]) as server,
            open_channel(server.address) as channel,
        ):
            await app.hosted.readiness.wait_ready()
            await visible_after(feedback, app.features, "in process", sizes.reads)
            await visible_after(feedback, GrpcFeatures(channel), "gRPC", sizes.reads)
            await reads(app.features, "in process", sizes)
            await reads(GrpcFeatures(channel), "gRPC", sizes)
            await changed_user(app, feedback, 1_200)


def main() -> None:
    """Read the sizes, run in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("events", 200_000), ("users", 5_000), ("items", 20_000), ("reads", 2_000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    folder = Path(tempfile.mkdtemp(prefix="winnow-feature-bench-"))
    try:
        asyncio.run(run(Sizes(**vars(parser.parse_args())), folder))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
