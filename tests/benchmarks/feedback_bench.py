"""How fast the event log is: `python -m tests.benchmarks.feedback_bench [--events N] [--data-dir DIR]`.

Prints, for the embedded log behind gRPC: durable events a second (unary batches of 1, 100, 500; one stream of batches
of 100), when they are acknowledged, and the server's processor time an event, beside `sqlite3` alone that commits rows
of the same size on the same disk in the same run; then how fast the log is replayed, and when a follower sees an event.
The client runs in a process of its own, and its requests are made before the clock starts.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table
from winnow.v1 import event_pb2
from winnow.v1 import feedback_service_pb2 as pb
from winnow.v1.feedback_service_pb2_grpc import FeedbackServiceStub

from services.feedback.app import FeedbackApp, open_feedback
from services.feedback.settings import FeedbackSettings
from services.feedback.sqlite_database import connect
from shared.clients.feedback import GrpcFeedback
from shared.domain.events import Event, EventType
from shared.domain.services import Feedback
from shared.domain.watermark import Watermark
from shared.kernel.client import ChannelOptions, open_channel
from shared.kernel.clock import system_clock
from shared.kernel.config import load
from shared.kernel.logs import configure_logs
from shared.kernel.server import GrpcServer

USERS, ITEMS = 5_000, 2_000
ROW_BYTES = 110
"""A sealed event with ids of usual length."""
VISIBLE_EVENTS = 500


@dataclass(frozen=True)
class Load:
    """One way of sending: batches of `size`, `callers` unary calls at a time, or one stream (0)."""

    name: str
    size: int
    callers: int
    share: float


LOADS = (
    Load("unary, batches of 1, 64 callers", 1, 64, 0.05),
    Load("unary, batches of 100, 16 callers", 100, 16, 1.0),
    Load("unary, batches of 500, 8 callers", 500, 8, 1.0),
    Load("one stream, batches of 100", 100, 0, 1.0),
)


@dataclass(frozen=True)
class Sent:
    """What a client measured."""

    seconds: float
    latencies_ms: Sequence[float]


def request_events(start: int, size: int) -> list[event_pb2.Event]:
    """Events as clients send them."""
    return [
        event_pb2.Event(
            event_id=f"event-{number:012d}",
            user_id=f"user-{number % USERS}",
            item_id=f"item-{number % ITEMS}",
            event_type=event_pb2.EVENT_TYPE_CLICK,
            event_time=Timestamp(seconds=1_700_000_000 + number),
            recommendation_id=f"recommendation-{number // 10}",
            surface="home",
        )
        for number in range(start, start + size)
    ]


def run_client(address: str, load: Load, first: int, count: int, answer: Any) -> None:
    """The client's process."""
    answer.send(asyncio.run(_send(address, load, first, count)))


async def _send(address: str, load: Load, first: int, count: int) -> Sent:
    batches = [request_events(start, load.size) for start in range(first, first + count, load.size)]
    async with open_channel(address, ChannelOptions(timeout_ms=60_000)) as channel:
        await channel.channel_ready()
        stub = FeedbackServiceStub(channel)
        if load.callers:
            return await _call(stub, [pb.RecordEventsRequest(events=batch) for batch in batches], load.callers)
        return await _stream(stub, [pb.StreamEventsRequest(events=batch) for batch in batches])


async def _call(stub: Any, requests: Sequence[pb.RecordEventsRequest], callers: int) -> Sent:
    waiting, latencies = iter(requests), []

    async def caller() -> None:
        for request in waiting:
            began = time.perf_counter()
            await stub.RecordEvents(request)
            latencies.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return Sent(time.perf_counter() - began, latencies)


async def _stream(stub: Any, requests: Sequence[pb.StreamEventsRequest]) -> Sent:
    sent: list[float] = []
    latencies: list[float] = []

    async def batches() -> AsyncIterator[pb.StreamEventsRequest]:
        for request in requests:
            sent.append(time.perf_counter())
            yield request

    began = time.perf_counter()
    async for _ in stub.StreamEvents(batches()):
        latencies.append((time.perf_counter() - sent[len(latencies)]) * 1000)
    return Sent(time.perf_counter() - began, latencies)


def raw_rate(folder: Path, size: int, count: int) -> float:
    """Rows a second that `sqlite3` alone commits in groups of `size`."""
    database = connect(folder / f"raw-{size}.db")
    database.execute("CREATE TABLE log (log_offset INTEGER PRIMARY KEY, payload BLOB NOT NULL)")
    payload = os.urandom(ROW_BYTES)
    began = time.perf_counter()
    for start in range(0, count, size):
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO log VALUES (?, ?)", ((row, payload) for row in range(start, start + size)))
        database.execute("COMMIT")
    seconds = time.perf_counter() - began
    database.close()
    return count / seconds


async def measure_load(address: str, load: Load, first: int, count: int) -> list[str]:
    """One row of the table."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe(duplex=False)
    arguments = (address, load, first, count, theirs)
    client = multiprocessing.get_context("spawn").Process(target=run_client, args=arguments)
    client.start()
    processor = time.process_time()
    sent: Sent = await asyncio.to_thread(ours.recv)
    processor = time.process_time() - processor
    client.join()
    p50, p99 = np.percentile(sent.latencies_ms, [50, 99])
    rate, alone = count / sent.seconds, count / processor
    return [load.name, f"{rate:,.0f}", f"{alone:,.0f}", f"{p50:.1f}", f"{p99:.1f}"]


async def measure_replay(name: str, feedback: Feedback) -> list[str]:
    """One row: the whole log once."""
    began, processor, count = time.perf_counter(), time.process_time(), 0
    async for batch in feedback.tail(Watermark(), follow=False, batch_size=1_000):
        count += len(batch.records)
    seconds, processor = time.perf_counter() - began, time.process_time() - processor
    return [name, f"{count / seconds:,.0f}", f"{count / processor:,.0f}"]


async def measure_visibility(app: FeedbackApp) -> list[float]:
    """Milliseconds from the acknowledgement of an event until a follower in the same process has it."""
    seen: dict[str, float] = {}
    acknowledged: dict[str, float] = {}

    async def follow() -> None:
        async for batch in app.feedback.tail(await app.log.head(), follow=True):
            now = time.perf_counter()
            seen.update((record.fact.event_id, now) for record in batch.records if isinstance(record.fact, Event))
            if len(seen) == VISIBLE_EVENTS:
                return

    following = asyncio.create_task(follow())
    for number in range(VISIBLE_EVENTS):
        event = Event(f"visible-{number}", "ada", "x", EventType.CLICK, system_clock())
        await app.intake.record_events([event])
        acknowledged[event.event_id] = time.perf_counter()
    await following
    return [max(0.0, seen[each] - acknowledged[each]) * 1000 for each in seen]


async def bench(folder: Path, events: int) -> None:
    """Everything, one after the other."""
    console = Console()
    settings = load(FeedbackSettings, data_dir=folder, address="127.0.0.1:0")
    writes = _table("writing", "events/s", "events/s a core of the server", "ack p50 ms", "ack p99 ms")
    for size in (100, 500, 2_000):
        writes.add_row(f"sqlite3 alone, groups of {size}", f"{raw_rate(folder, size, events):,.0f}", "", "", "")
    async with open_feedback(settings, system_clock) as app, GrpcServer(settings.address, [app.hosted]) as server:
        first = 0
        for each in LOADS:
            count = int(events * each.share) // each.size * each.size
            writes.add_row(*await measure_load(server.address, each, first, count))
            first += count
        console.print(writes)
        reads = _table("reading", "records/s", "records/s a core")
        reads.add_row(*await measure_replay("replay in process", app.feedback))
        async with open_channel(server.address) as channel:
            reads.add_row(*await measure_replay("replay over gRPC, both ends in one process", GrpcFeedback(channel)))
        console.print(reads)
        p50, p99 = np.percentile(await measure_visibility(app), [50, 99])
    console.print(f"visible to a follower {p50:.1f} ms (p50), {p99:.1f} ms (p99) after the acknowledgement")
    console.print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB")


def _table(name: str, *columns: str) -> Table:
    table = Table(name, *columns)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=100_000, help="events of each load")
    parser.add_argument("--data-dir", type=Path, default=None, help="folder on the disk to measure; default: a new one")
    arguments = parser.parse_args()
    configure_logs("warning")
    run: Callable[[Awaitable[None]], None] = _loop_runner()
    with tempfile.TemporaryDirectory(dir=arguments.data_dir, prefix="feedback-bench-") as folder:
        run(bench(Path(folder), arguments.events))


def _loop_runner() -> Any:
    import uvloop  # noqa: PLC0415 - what the service itself runs on

    return uvloop.run


if __name__ == "__main__":
    main()
