"""`winnow bench` against a scripted front on a real server."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from winnow.v1 import feedback_service_pb2 as feedback_pb
from winnow.v1 import feedback_service_pb2_grpc as feedback_grpc
from winnow.v1 import header_pb2
from winnow.v1 import recommendation_service_pb2 as pb
from winnow.v1 import recommendation_service_pb2_grpc as pb_grpc

from shared.kernel.errors import ErrorReason, ServiceError
from shared.kernel.readiness import Readiness
from shared.kernel.server import GrpcServer, Hosted, ServerOptions

HEADER = header_pb2.ResponseHeader(
    stage_timings=[header_pb2.StageTiming(stage="rank", duration=Duration(nanos=3_000_000))],
    stage_counts=[
        header_pb2.StageCount(component="filter:consumed", entered=40, removed=10),
        header_pb2.StageCount(component="cut", entered=30, removed=5),
        header_pb2.StageCount(component="source:pinned", entered=1),
    ],
    degraded=[header_pb2.Degradation(stage="rank", reason="shrunk")],
)


class Front(pb_grpc.RecommendationServiceServicer):
    """Answers one request after the other, and does before each what the test says."""

    def __init__(self, before: Callable[[int], Any]) -> None:
        self._before, self._turn, self.asked = before, asyncio.Lock(), 0

    async def Recommend(self, request: pb.RecommendRequest, _context: Any) -> pb.RecommendResponse:
        async with self._turn:
            self.asked += 1
            await self._before(self.asked)
        return pb.RecommendResponse(header=HEADER, recommendation_id="r", items=[pb.RecommendedItem(item_id="i")])


class Log(feedback_grpc.FeedbackServiceServicer):
    """Notes the events that it is sent."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    async def RecordEvents(
        self, request: feedback_pb.RecordEventsRequest, _context: Any
    ) -> feedback_pb.RecordEventsResponse:
        self.events += request.events
        return feedback_pb.RecordEventsResponse()


async def at_once(_number: int) -> None:
    pass


@asynccontextmanager
async def serving(before: Callable[[int], Any] = at_once) -> AsyncIterator[tuple[str, Front, Log]]:
    front, log, readiness = Front(before), Log(), Readiness()
    readiness.set(True)
    hosted = [
        Hosted(
            ("winnow.v1.RecommendationService",),
            lambda server: pb_grpc.add_RecommendationServiceServicer_to_server(front, server),
            readiness,
        ),
        Hosted(
            ("winnow.v1.FeedbackService",),
            lambda server: feedback_grpc.add_FeedbackServiceServicer_to_server(log, server),
            readiness,
        ),
    ]
    async with GrpcServer("127.0.0.1:0", hosted, ServerOptions(drain_grace_ms=0)) as server:
        yield server.address, front, log


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users.txt"
    path.write_text("ann\nbob\n\nann\n")
    return path


@dataclass(frozen=True)
class Result:
    exit_code: int | None
    stdout: str
    stderr: str


PATIENT = ("--timeout-ms", "60000")
"""A busy machine must not lose a request here."""


async def bench(address: str, users: Path, *options: str) -> Result:
    command = ["bench", "--address", address, "--users", str(users), "--warm-up", "0", *PATIENT, *options]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services", *command, stdout=PIPE, stderr=PIPE)
    out, errors = await process.communicate()
    return Result(process.returncode, out.decode(), errors.decode())


async def test_a_load_is_reported_phase_by_phase(users: Path) -> None:
    async with serving() as (address, front, _):
        result = await bench(address, users, "--rate", "20", "--rate", "60", "--seconds", "2", "--json")
    first, second = json.loads(result.stdout)["phases"]

    assert first["sent"] + second["sent"] == front.asked - 1  # the first one only asks whether somebody is there
    assert (first["answered"], second["answered"]) == (first["sent"], second["sent"])
    assert second["sent"] > first["sent"]
    assert (first["ranked_mean"], first["stage_mean_ms"]) == (25, {"rank": 3})
    assert first["degraded_reasons"] == {"rank/shrunk": first["answered"]}


async def test_a_stall_counts_for_every_request_that_was_due_in_it(users: Path) -> None:
    async def stall(number: int) -> None:
        if number == 20:
            await asyncio.sleep(1)  # the stall itself

    async with serving(stall) as (address, _, _):
        result = await bench(address, users, "--rate", "100", "--seconds", "3", "--json")
    (phase,) = json.loads(result.stdout)["phases"]

    # Of the 100 or so that are due in that second, 60 % wait for more than 400 ms: of 300 that is a fifth.
    # A closed loop would have sent a single one of them.
    assert phase["latency_ms"]["p90"] > 400
    assert phase["answered"] == phase["sent"]


async def test_refusals_are_counted_by_their_reason(users: Path) -> None:
    async def refuse(number: int) -> None:
        if number > 1:
            raise ServiceError(ErrorReason.OVERLOADED, "enough")

    async with serving(refuse) as (address, _, _):
        result = await bench(address, users, "--rate", "30", "--seconds", "1", "--json")
    (phase,) = json.loads(result.stdout)["phases"]

    assert phase["errors"] == {"OVERLOADED": phase["sent"]}
    assert phase["answered"] == 0


async def test_a_share_of_the_slates_is_clicked(users: Path) -> None:
    async with serving() as (address, _, log):
        options = ("--rate", "40", "--seconds", "2", "--click-share", "0.5", "--processes", "2", "--json")
        result = await bench(address, users, *options)
    (phase,) = json.loads(result.stdout)["phases"]

    assert phase["events_recorded"] == len(log.events)
    assert 0 < len(log.events) < phase["answered"]
    assert {(event.item_id, event.recommendation_id) for event in log.events} == {("i", "r")}
    assert {event.user_id for event in log.events} <= {"ann", "bob"}


async def test_pictures_are_written(users: Path, tmp_path: Path) -> None:
    async with serving() as (address, _, _):
        result = await bench(address, users, "--rate", "20", "--seconds", "1", "--plots", str(tmp_path / "plots"))

    assert result.exit_code == 0
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["percentiles.png", "timeline.png"]


async def test_nobody_there_is_one_clear_error(users: Path) -> None:
    result = await bench("127.0.0.1:1", users)

    assert result.exit_code == 1
    assert "127.0.0.1:1 gives no slate" in result.stderr


async def test_no_users_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    result = await bench("127.0.0.1:1", tmp_path / "empty.txt")

    assert result.exit_code == 2
    assert "names no user" in result.stderr


async def test_more_requests_than_can_be_counted_are_refused(users: Path) -> None:
    result = await bench("127.0.0.1:1", users, "--rate", "100000", "--seconds", "100")

    assert result.exit_code == 2
    assert "at most 5,000,000" in result.stderr
