"""One process of the generator: sends what is due when it is due, whatever became of the requests before."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from array import array
from collections.abc import Callable
from dataclasses import dataclass

import grpc
import numpy as np
import uvloop
from winnow.v1 import event_pb2, feedback_service_pb2, feedback_service_pb2_grpc
from winnow.v1 import recommendation_service_pb2 as pb
from winnow.v1 import recommendation_service_pb2_grpc as pb_grpc

from services.command.bench.arrivals import Arrivals, Phase, poisson_arrivals
from services.command.bench.tally import Tally, record_us
from shared.kernel.client import ChannelOptions
from shared.kernel.errors import ServiceError, from_rpc_error
from shared.kernel.hosting import connect


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of whom.

    Attributes:
        address: where Winnow answers.
        users: ids, drawn evenly.
        phases: rates in order.
        page_size: entries of a slate.
        surface: where slates are said to be shown.
        timeout_ms: deadline of each request.
        click_share: share of the answers after which a click on the first entry is recorded.
        seed: of arrivals, users and clicks.
        processes: that share the rate.
    """

    address: str
    users: tuple[str, ...]
    phases: tuple[Phase, ...]
    page_size: int
    surface: str
    timeout_ms: int
    click_share: float
    seed: int
    processes: int


@dataclass(frozen=True, slots=True)
class Answered:
    """What one process saw.

    Attributes:
        tallies: one a phase.
        due_s: (A,) when each answered request was due, seconds from the begin.
        latency_ms: (A,) its latency.
    """

    tallies: list[Tally]
    due_s: np.ndarray
    latency_ms: np.ndarray


def call_all(load: Load, process: int, begin_s: float) -> Answered:
    """Run one process's part to its end.

    Args:
        load: the whole load.
        process: its number, from 0.
        begin_s: when all processes begin, on the scale of `time.monotonic`.
    """
    rng = np.random.default_rng((load.seed, process))
    arrivals = poisson_arrivals(load.phases, 1 / load.processes, rng)
    return uvloop.run(_call_all(load, arrivals, rng, begin_s))


async def _call_all(load: Load, arrivals: Arrivals, rng: np.random.Generator, begin_s: float) -> Answered:
    options = ChannelOptions(timeout_ms=load.timeout_ms, deadline_margin_ms=0)
    async with connect(load.address, options) as channel:
        caller = _Caller(load, arrivals, rng, begin_s)
        caller.open(channel)
        await _paced(arrivals, begin_s, caller.send)
        await caller.drained()
    answered = np.array(caller.answered).reshape(-1, 2)
    return Answered(caller.tallies, answered[:, 0], answered[:, 1])


class _Caller:
    """Sends requests and notes what becomes of them."""

    def __init__(self, load: Load, arrivals: Arrivals, rng: np.random.Generator, begin_s: float) -> None:
        self._load, self._arrivals, self._begin_s = load, arrivals, begin_s
        self._users = rng.integers(len(load.users), size=len(arrivals))
        self._clicks = rng.random(len(arrivals)) < load.click_share
        self._open: set[asyncio.Task[None]] = set()
        self.tallies = [Tally() for _ in load.phases]
        self.answered = array("d")  # by turns when it was due and its latency

    def open(self, channel: grpc.aio.Channel) -> None:
        """Use a channel."""
        self._front = pb_grpc.RecommendationServiceStub(channel)
        self._feedback = feedback_service_pb2_grpc.FeedbackServiceStub(channel)

    def send(self, number: int) -> None:
        """Send one request now."""
        task = asyncio.get_running_loop().create_task(self._call(number))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def drained(self) -> None:
        """Wait for the answers that are still to come: no longer than their deadlines."""
        while self._open:
            await asyncio.wait(self._open)

    async def _call(self, number: int) -> None:
        due_s = float(self._arrivals.due_s[number])
        tally = self.tallies[self._arrivals.phases[number]]
        tally.sent += 1
        record_us(tally.late, (time.monotonic() - self._begin_s - due_s) * 1e6)
        user_id = self._load.users[self._users[number]]
        request = pb.RecommendRequest(user_id=user_id, page_size=self._load.page_size, surface=self._load.surface)
        try:
            slate = await self._front.Recommend(request, timeout=self._load.timeout_ms / 1e3)
        except (grpc.RpcError, ServiceError) as error:
            tally.codes[_name(error)] += 1
            return
        latency_s = time.monotonic() - self._begin_s - due_s
        record_us(tally.latency, latency_s * 1e6)
        self.answered.extend((due_s, latency_s * 1e3))
        _note(tally, slate)
        if self._clicks[number] and slate.items:
            await self._click(tally, user_id, slate)

    async def _click(self, tally: Tally, user_id: str, slate: pb.RecommendResponse) -> None:
        click = event_pb2.Event(
            event_id=uuid.uuid4().hex, user_id=user_id, item_id=slate.items[0].item_id,
            event_type=event_pb2.EVENT_TYPE_CLICK, recommendation_id=slate.recommendation_id,
        )  # fmt: skip
        request = feedback_service_pb2.RecordEventsRequest(events=[click])
        begin_s = time.monotonic()
        try:
            await self._feedback.RecordEvents(request, timeout=self._load.timeout_ms / 1e3)
        except (grpc.RpcError, ServiceError) as error:
            tally.codes[f"record {_name(error)}"] += 1
            return
        record_us(tally.recorded, (time.monotonic() - begin_s) * 1e6)


def _note(tally: Tally, slate: pb.RecommendResponse) -> None:
    header = slate.header
    tally.degraded += bool(header.degraded)
    tally.reasons.update(f"{lost.stage}/{lost.reason}" for lost in header.degraded)
    for timing in header.stage_timings:
        tally.stage_ms[timing.stage] += timing.duration.ToMicroseconds() / 1e3  # type: ignore[assignment]
    for count in reversed(header.stage_counts):
        if count.component == "cut" or count.component.startswith("filter:"):
            tally.ranked += count.entered - count.removed
            break


def _name(error: grpc.RpcError | ServiceError) -> str:
    return (error if isinstance(error, ServiceError) else from_rpc_error(error)).reason.name


async def _paced(arrivals: Arrivals, begin_s: float, send: Callable[[int], None]) -> None:
    """Call `send` with each arrival's number when it is due. An event loop's own timers are too coarse: 1 ms."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def pace() -> None:
        for number, due_s in enumerate(arrivals.due_s):
            if (wait_s := begin_s + due_s - time.monotonic()) > 0:
                time.sleep(wait_s)
            loop.call_soon_threadsafe(send, number)
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=pace, name="pace", daemon=True).start()
    await ended.wait()
