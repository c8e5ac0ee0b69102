"""The feature service as a process of its own, on the log of a feedback service in another."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.feedback.app import FeedbackApp, open_feedback
from services.feedback.settings import FeedbackSettings
from shared.clients.features import GrpcFeatures
from shared.kernel.client import open_channel
from shared.kernel.server import GrpcServer
from tests.unit.feature.world import ENOUGH_MS, clock, event

ROOT = Path(__file__).parents[3]


@asynccontextmanager
async def feedback_at(folder: Path) -> AsyncIterator[tuple[FeedbackApp, str]]:
    async with (
        open_feedback(FeedbackSettings.model_validate({"data_dir": folder}), clock) as app,
        GrpcServer("127.0.0.1:0", [app.hosted]) as server,
    ):
        yield app, server.address


async def started(folder: Path, feedback_address: str) -> asyncio.subprocess.Process:
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'shared' / 'stubs'}",
        "WINNOW_DATA_DIR": str(folder),
        "WINNOW_FEATURE_ADDRESS": "127.0.0.1:0",
        "WINNOW_FEATURE_METRICS_PORT": "0",
        "WINNOW_FEATURE_FEEDBACK_ADDRESS": feedback_address,
    }
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.feature", env=environment, stderr=asyncio.subprocess.PIPE, cwd=folder
    )


async def address_of(process: asyncio.subprocess.Process) -> str:
    """The port that it took, from its log."""
    assert process.stderr is not None
    async for line in process.stderr:
        if b"server.started" in line and (found := re.search(r"127\.0\.0\.1:\d+", line.decode())):
            return found[0]
    raise AssertionError("the process ended before it listened")


async def test_it_starts_follows_the_log_and_stops_at_sigterm(tmp_path: Path) -> None:
    async with feedback_at(tmp_path) as (feedback, feedback_address):
        recorded = await feedback.intake.record_events([event("anna", "i1")])
        process = await started(tmp_path, feedback_address)
        async with open_channel(await address_of(process)) as channel:
            state = await GrpcFeatures(channel).user_state(
                "anna", recorded.watermark, history_limit=10, budget_ms=ENOUGH_MS
            )
            health = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service="winnow.v1.FeatureService"), wait_for_ready=True
            )
        process.send_signal(signal.SIGTERM)
        await process.communicate()

    assert state.history.item_ids == ("i1",)
    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert process.returncode == 0


async def test_without_a_log_it_answers_that_it_is_not_ready(tmp_path: Path) -> None:
    process = await started(tmp_path, "127.0.0.1:1")
    async with open_channel(await address_of(process)) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service="winnow.v1.FeatureService")
        )
    process.send_signal(signal.SIGINT)
    await process.communicate()

    assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert process.returncode == 0
