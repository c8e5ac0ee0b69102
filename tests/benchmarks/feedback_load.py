"""The producer of the feedback benchmark: a process that sends events and notes when they are acknowledged."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from winnow.v1 import event_pb2
from winnow.v1 import feedback_service_pb2 as pb
from winnow.v1.feedback_service_pb2_grpc import FeedbackServiceStub

from shared.kernel.client import ChannelOptions, open_channel

USERS, ITEMS = 5_000, 2_000
IN_FLIGHT = 16
"""Batches of a stream that the service works on at a time."""


@dataclass(frozen=True)
class Load:
    """One way of sending: batches of `size`, `callers` unary calls at a time, or one stream (0).

    Attributes:
        share: of the benchmark's number of events.
        waiting: events that wait for the disk at a time at most: a commit can be as large.
    """

    name: str
    size: int
    callers: int
    share: float

    @property
    def waiting(self) -> int:
        return self.size * (self.callers or IN_FLIGHT)


LOADS = (
    Load("batches of 1, 64 callers", 1, 64, 0.05),
    Load("batches of 100, 16 callers", 100, 16, 1.0),
    Load("batches of 500, 8 callers", 500, 8, 1.0),
    Load("one stream, batches of 100", 100, 0, 1.0),
)


@dataclass(frozen=True)
class Sent:
    """What the producer measured."""

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


async def send(address: str, load: Load, first: int, count: int) -> Sent:
    """Send events from a process of its own; returns when all are acknowledged."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe(duplex=False)
    arguments = (address, load, first, count, theirs)
    producer = multiprocessing.get_context("spawn").Process(target=_run, args=arguments)
    producer.start()
    sent: Sent = await asyncio.to_thread(ours.recv)
    producer.join()
    return sent


def _run(address: str, load: Load, first: int, count: int, answer: Any) -> None:
    answer.send(asyncio.run(_send(address, load, first, count)))


async def _send(address: str, load: Load, first: int, count: int) -> Sent:
    async with open_channel(address, ChannelOptions(timeout_ms=60_000)) as channel:
        await channel.channel_ready()
        stub = FeedbackServiceStub(channel)
        batches = (request_events(start, load.size) for start in range(first, first + count, load.size))
        return await (_call(stub, list(batches), load.callers) if load.callers else _stream(stub, batches))


async def _call(stub: Any, batches: Sequence[list[event_pb2.Event]], callers: int) -> Sent:
    waiting, latencies = iter([pb.RecordEventsRequest(events=batch) for batch in batches]), []

    async def caller() -> None:
        for request in waiting:
            began = time.perf_counter()
            await stub.RecordEvents(request)
            latencies.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return Sent(time.perf_counter() - began, latencies)


async def _stream(stub: Any, batches: Iterator[list[event_pb2.Event]]) -> Sent:
    """The first thousand requests are made before the clock starts; of a longer stream the rest on the way."""
    ready = [pb.StreamEventsRequest(events=batch) for batch in islice(batches, 1_000)]
    sent: list[float] = []
    latencies: list[float] = []

    async def requests() -> AsyncIterator[pb.StreamEventsRequest]:
        for request in ready:
            sent.append(time.perf_counter())
            yield request
        for batch in batches:
            request = pb.StreamEventsRequest(events=batch)
            sent.append(time.perf_counter())
            yield request

    began = time.perf_counter()
    async for _ in stub.StreamEvents(requests()):
        latencies.append((time.perf_counter() - sent[len(latencies)]) * 1000)
    return Sent(time.perf_counter() - began, latencies)
