"""How fast the event log is, beside what its storage takes by itself: `make bench-feedback`.

For each adapter (SQLite; Kafka over the tests' broker, which keeps everything in memory): durable events a second
through gRPC, the server's processor time an event, when events are acknowledged, the same storage without Winnow in
groups as large as what waits at a time, how fast the log is replayed, when a follower and the features show an event,
and the memory before and after a long stream. Bounded to four minutes; nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from rich.console import Console
from rich.table import Table

from services.feature.app import open_feature
from services.feature.settings import FeatureSettings
from services.feedback.app import FeedbackApp, open_feedback
from services.feedback.settings import FeedbackSettings
from shared.clients.feedback import GrpcFeedback
from shared.domain.events import Event, EventType
from shared.domain.services import Feedback
from shared.domain.watermark import Watermark
from shared.kernel.client import open_channel
from shared.kernel.clock import system_clock
from shared.kernel.config import load
from shared.kernel.garbage import keep_what_is_there, look_seldom
from shared.kernel.logs import configure_logs
from shared.kernel.server import GrpcServer
from tests.benchmarks.feedback_load import LOADS, Load, send
from tests.benchmarks.feedback_raw import kafka_rate, redis_rates, sqlite_rate
from tests.kafka_broker import Broker
from tests.redis_server import RedisServer

VISIBLE_EVENTS = 500
SOAK = Load("one stream, batches of 500", 500, 0, 0)
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sizes:
    """Events of each load, and of the long stream."""

    events: int
    soak: int


@dataclass(frozen=True)
class Adapter:
    """A kind of log.

    Attributes:
        raw: events a second that its storage takes alone, by size of group and count.
    """

    name: str
    settings: dict[str, Any]
    raw: Callable[[int, int], float]


class Printed:
    """Tables as they fill."""

    def __init__(self) -> None:
        self.console = Console(width=140)

    def table(self, name: str, *columns: str) -> Table:
        table = Table(name, *columns)
        for column in table.columns[1:]:
            column.justify = "right"
        return table


@asynccontextmanager
async def serving(folder: Path, adapter: Adapter) -> AsyncIterator[tuple[FeedbackApp, str]]:
    """The service over a new log, and its address."""
    settings = load(FeedbackSettings, data_dir=folder, address="127.0.0.1:0", **adapter.settings)
    async with open_feedback(settings, system_clock) as app, GrpcServer(settings.address, [app.hosted]) as server:
        yield app, server.address


async def bench_writes(address: str, adapter: Adapter, sizes: Sizes, printed: Printed) -> int:
    """One row a load; gives how many events were written."""
    table = printed.table(
        f"{adapter.name}: writing", "events/s", "alone/s", "share of alone", "events/s a core", "ack p50 ms", "p99 ms"
    )
    first = 0
    for each in LOADS:
        count = int(sizes.events * each.share) // each.size * each.size
        alone = await asyncio.to_thread(adapter.raw, each.waiting, count)
        processor = time.process_time()
        sent = await send(address, each, first, count)
        processor = time.process_time() - processor
        p50, p99 = np.percentile(sent.latencies_ms, [50, 99])
        rate, first = count / sent.seconds, first + count
        table.add_row(
            each.name, f"{rate:,.0f}", f"{alone:,.0f}", f"{rate / alone:.0%}", f"{count / processor:,.0f}",
            f"{p50:.1f}", f"{p99:.1f}",
        )  # fmt: skip
    printed.console.print(table)
    return first


async def bench_replay(app: FeedbackApp, address: str, name: str, printed: Printed) -> None:
    """The whole log once in process, and once through gRPC with both ends in this process."""
    table = printed.table(f"{name}: replaying", "records/s", "records/s a core")
    async with open_channel(address) as channel:
        ways: dict[str, Feedback] = {"in process": app.feedback, "over gRPC": GrpcFeedback(channel)}
        for way, feedback in ways.items():
            began, processor, count = time.perf_counter(), time.process_time(), 0
            async for batch in feedback.tail(Watermark(), follow=False, batch_size=1_000):
                count += len(batch.records)
            seconds, processor = time.perf_counter() - began, time.process_time() - processor
            table.add_row(way, f"{count / seconds:,.0f}", f"{count / processor:,.0f}")
    printed.console.print(table)


async def bench_soak(address: str, name: str, sizes: Sizes, printed: Printed) -> None:
    """Memory over a long stream, read at each tenth of it."""
    levels: list[float] = [resident_mib()]
    part = sizes.soak // 10 // SOAK.size * SOAK.size
    first, began = 10**9, time.perf_counter()
    for _ in range(10):
        await send(address, SOAK, first, part)
        first += part
        levels.append(resident_mib())
    rate = 10 * part / (time.perf_counter() - began)
    printed.console.print(
        f"{name}: resident memory over {10 * part:,} streamed events ({rate:,.0f}/s with the producers' starts): "
        + " ".join(f"{level:.0f}" for level in levels)
        + " MiB"
    )


async def bench_visible(folder: Path, feedback: FeedbackApp, feature: dict[str, Any]) -> list[float]:
    """Milliseconds from the acknowledgement of an event until `GetUserState` shows it, one event at a time."""
    settings = load(FeatureSettings, data_dir=folder, **feature)
    found = []
    async with open_feature(settings, system_clock, feedback.feedback) as app:
        await app.hosted.readiness.wait_ready()
        for number in range(VISIBLE_EVENTS):
            event = Event(f"{folder.name}-{number}", f"seen-{number % 50}", "x", EventType.CLICK, system_clock())
            recorded = await feedback.intake.record_events([event])
            began = time.perf_counter()
            await app.features.user_state(event.user_id, recorded.watermark, history_limit=100, budget_ms=5_000)
            found.append((time.perf_counter() - began) * 1000)
    return found


async def bench_features(folder: Path, app: FeedbackApp, redis: RedisServer, printed: Printed) -> None:
    """When the features show an event, over each store, over the log as the loads left it."""
    table = printed.table("acknowledged → visible in the features", "p50 ms", "p99 ms")
    stores = {"SQLite": {"store": "sqlite"}, "Redis": {"store": "redis", "redis_url": redis.url}}
    for name, settings in stores.items():
        data = folder / f"features-{name}"
        data.mkdir()
        found = await bench_visible(data, app, settings)
        p50, p99 = np.percentile(found, [50, 99])
        table.add_row(name, f"{p50:.2f}", f"{p99:.2f}")
    printed.console.print(table)


async def bench(folder: Path, sizes: Sizes) -> None:
    """Everything, one after the other."""
    printed, broker = Printed(), Broker()
    async with AsyncExitStack() as stack:
        stack.callback(broker.stop)
        redis = stack.enter_context(started(RedisServer(folder / "redis")))
        kafka = {"log": "kafka", "kafka_bootstrap_servers": broker.bootstrap}
        adapters = (
            Adapter("SQLite", {}, lambda group, count: sqlite_rate(folder, group, count)),
            Adapter("Kafka", kafka, lambda group, count: kafka_rate(broker.bootstrap, group, count)),
        )
        for adapter in adapters:
            data = folder / adapter.name
            async with serving(data, adapter) as (app, address):
                await bench_writes(address, adapter, sizes, printed)
                await bench_replay(app, address, adapter.name, printed)
                if adapter is adapters[0]:
                    await bench_features(folder, app, redis, printed)
                    await bench_soak(address, adapter.name, sizes, printed)
        xadd, hset = await asyncio.to_thread(redis_rates, redis, sizes.events)
        printed.console.print(f"Redis alone, pipelines of 1,000: XADD {xadd:,.0f}/s, HSET {hset:,.0f}/s")
    printed.console.print(f"load average {os.getloadavg()[0]:.1f}")


@contextmanager
def started(server: RedisServer) -> Any:
    """The server, until the block ends."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


def resident_mib() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * PAGE_BYTES / 2**20


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=60_000, help="events of each load")
    parser.add_argument("--soak", type=int, default=1_000_000, help="events of the long stream")
    parser.add_argument("--data-dir", type=Path, default=None, help="folder on the disk to measure; default: a new one")
    arguments = parser.parse_args()
    configure_logs("error")
    look_seldom()  # as a service's process does
    keep_what_is_there()
    with tempfile.TemporaryDirectory(dir=arguments.data_dir, prefix="feedback-bench-") as folder:
        uvloop.run(bench(Path(folder), Sizes(arguments.events, arguments.soak)))


if __name__ == "__main__":
    main()
