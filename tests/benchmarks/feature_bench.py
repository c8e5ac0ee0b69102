"""What the feature service takes: replaying the log, showing a write, reading a user and items, on SQLite and Redis.

Run as `python -m tests.benchmarks.feature_bench [--events 200000] [--users 5000] [--items 20000] [--reads 2000]
[--repeats 3]`. Nothing is asserted: it prints a table. Replay is given twice: all CPU of the process (reading and
decoding the log included), and the feature service's own share (applying and storing), because the log's reader has a
budget of its own. Client and server of the gRPC rows share a process and an event loop: `core ms` is the CPU of both.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import ParamSpec, TypeVar

import numpy as np
import structlog

from services.feature import projection, redis_store, sqlite_store
from services.feature.app import FeatureApp, open_feature
from services.feature.settings import FeatureSettings
from services.feedback.app import FeedbackApp, open_feedback
from services.feedback.settings import FeedbackSettings
from shared.clients.features import GrpcFeatures
from shared.domain.event_log import LogRecord
from shared.domain.events import Event
from shared.domain.items import Item
from shared.domain.services import Features
from shared.domain.user_state import TopOrder
from shared.domain.watermark import Watermark
from shared.kernel.client import open_channel
from shared.kernel.clock import system_clock
from shared.kernel.garbage import keep_what_is_there, look_seldom
from shared.kernel.server import GrpcServer
from tests.redis_server import redis_server

P = ParamSpec("P")
T = TypeVar("T")
_numbers = count()

BUDGET_MS = 60_000.0


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    events: int
    users: int
    items: int
    reads: int
    repeats: int


@dataclass
class OwnTime:
    """CPU seconds of the feature service's own work, summed over its threads."""

    seconds: float = 0.0

    def watch(self) -> None:
        """Measure what applies and what stores from now on."""
        apply = projection.Projection.apply

        async def timed_apply(self_: projection.Projection, records: Sequence[LogRecord], now_ms: int) -> None:
            begin = time.thread_time()
            await apply(self_, records, now_ms)
            self.seconds += time.thread_time() - begin

        projection.Projection.apply = timed_apply  # type: ignore[method-assign]
        for owner, name in (
            (projection.Projection, "take"),
            (projection.Projection, "settle"),
            (sqlite_store, "_commit"),
            (redis_store.RedisFeatureStore, "_commit"),
        ):
            setattr(owner, name, self._timed(getattr(owner, name)))

    def _timed(self, work: Callable[P, T]) -> Callable[P, T]:
        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            begin = time.thread_time()
            try:
                return work(*args, **kwargs)
            finally:
                self.seconds += time.thread_time() - begin

        return timed


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


async def replay(feedback: FeedbackApp, settings: FeatureSettings, sizes: Sizes, own: OwnTime) -> None:
    """Fill an empty store from the log."""
    begin, cpu, own.seconds = time.perf_counter(), time.process_time(), 0.0
    async with open_feature(settings, system_clock, feedback.feedback) as app:
        await app.hosted.readiness.wait_ready()
        wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
        await app.dump()  # what still waited is stored too
    records = sizes.events + sizes.items
    row(f"replay, {settings.store}, records/s until ready (wall)", records / wall)
    row(f"replay, {settings.store}, records/s a core, log included", records / cpu)
    row(f"replay, {settings.store}, records/s a core, own share", records / own.seconds)
    row("peak memory, MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


async def visible_after(feedback: FeedbackApp, features: Features, label: str, reads: int) -> None:
    """Time from the acknowledgement of a write to the answer that shows it."""
    random = np.random.default_rng(2)
    written: dict[int, Event] = {}

    async def prepare(turn: int) -> tuple[str, Watermark]:
        user_id = f"user-{random.integers(1000)}"
        written[turn] = Event(f"{label}-{next(_numbers)}", user_id, "item-1", 3, system_clock())
        return user_id, await feedback.log.append([written[turn]])

    async def read(turn: int, at: tuple[str, Watermark]) -> None:
        state = await features.user_state(at[0], at[1], history_limit=200, budget_ms=BUDGET_MS)
        if state.history.event_ids[-1] != written[turn].event_id:
            sys.exit(f"{written[turn].event_id} is not visible at {at[1]}")

    times = []
    for turn in range(reads):
        at = await prepare(turn)
        begin = time.perf_counter()
        await read(turn, at)
        times.append(time.perf_counter() - begin)
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
        for _ in range(sizes.repeats):
            times, cpu = [], time.process_time()
            for turn in range(sizes.reads):
                begin = time.perf_counter()
                await call(turn)
                times.append(time.perf_counter() - begin)
            latency(f"{name}, {label}", times, (time.process_time() - cpu) / sizes.reads)


async def changed_user(app: FeatureApp, feedback: FeedbackApp, count: int) -> None:
    """A read after each change of the user: the state is built again."""
    times = []
    for turn in range(count):
        written = Event(f"changed-{next(_numbers)}", "heavy", f"item-{turn % 500}", 3, system_clock())
        position = await feedback.log.append([written])
        await app.features.user_state("nobody", position, history_limit=1, budget_ms=BUDGET_MS)
        begin = time.perf_counter()
        await app.features.user_state("heavy", Watermark(), history_limit=200, budget_ms=BUDGET_MS)
        times.append(time.perf_counter() - begin)
    latency("user_state after a change, in process", times[-200:])


def row(name: str, value: float) -> None:
    """One line of the table."""
    print(f"{name:<52}{value:>14,.0f}")


def latency(name: str, seconds: list[float], core_seconds: float | None = None) -> None:
    """Median and 99th percentile in microseconds."""
    p50, p99 = np.percentile(np.array(seconds) * 1e6, [50, 99])
    core = "" if core_seconds is None else f"{core_seconds * 1e3:>8.2f} core ms a call"
    print(f"{name:<52}{p50:>10,.0f} µs p50{p99:>10,.0f} µs p99{core}")


async def on_store(feedback: FeedbackApp, settings: FeatureSettings, sizes: Sizes, own: OwnTime) -> None:
    """Everything of one store in turn."""
    await replay(feedback, settings, sizes, own)
    async with (
        open_feature(settings, system_clock, feedback.feedback) as app,
        GrpcServer("127.0.0.1:0", [app.hosted]) as server,
        open_channel(server.address) as channel,
    ):
        await app.hosted.readiness.wait_ready()
        for label, features in (("in process", app.features), ("gRPC", GrpcFeatures(channel))):
            await visible_after(feedback, features, f"{settings.store}, {label}", sizes.reads)
            await reads(features, f"{settings.store}, {label}", sizes)
        await changed_user(app, feedback, 1_200)


async def run(sizes: Sizes, folder: Path) -> None:
    """Both stores over one log."""
    own = OwnTime()
    own.watch()
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with redis_server(folder / "redis") as server:
        async with open_feedback(FeedbackSettings.model_validate({"data_dir": folder}), system_clock) as feedback:
            await fill(feedback, sizes)
            for store in ({"store": "sqlite"}, {"store": "redis", "redis_url": server.url}):
                await on_store(feedback, FeatureSettings.model_validate({"data_dir": folder} | store), sizes, own)


def main() -> None:
    """Read the sizes, run in a folder of its own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # printing is not measured
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("events", 200_000), ("users", 5_000), ("items", 20_000), ("reads", 2_000), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    look_seldom()  # as a service's process does
    keep_what_is_there()
    folder = Path(tempfile.mkdtemp(prefix="winnow-feature-bench-"))
    try:
        asyncio.run(run(Sizes(**vars(parser.parse_args())), folder))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
