"""Candidate generation as a process of its own, on a real feature service over gRPC."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from services.feature.app import open_feature
from services.feature.settings import FeatureSettings
from shared.clients.candidate_generation import GrpcCandidateGeneration
from shared.domain.event_log import ItemDeletion
from shared.domain.items import Item
from shared.domain.services import CandidateGeneration
from shared.kernel.client import open_channel
from shared.kernel.clock import system_clock
from shared.kernel.config import load
from shared.kernel.errors import ServiceError
from shared.kernel.server import GrpcServer, ServerOptions
from tests.fakes import MemoryLog
from tests.unit.candidate_generation.rooms import asked


@asynccontextmanager
async def feature_server(log: MemoryLog, data_dir: Path, port: int = 0) -> AsyncIterator[str]:
    """A feature service that follows a log; gives its address."""
    settings = load(FeatureSettings, data_dir=data_dir, store="memory")
    options = ServerOptions(drain_grace_ms=0)
    async with (
        open_feature(settings, system_clock, log) as app,
        GrpcServer(f"127.0.0.1:{port}", [app.hosted], options) as server,
    ):
        yield server.address


@asynccontextmanager
async def process(data_dir: Path, feature_address: str, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m services.candidate_generation`."""
    variables = {
        "WINNOW_DATA_DIR": str(data_dir),
        "WINNOW_CANDIDATE_GENERATION_ADDRESS": f"127.0.0.1:{port}",
        "WINNOW_CANDIDATE_GENERATION_METRICS_PORT": "0",
        "WINNOW_CANDIDATE_GENERATION_FEATURE_ADDRESS": feature_address,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.candidate_generation", env={**os.environ, **variables}
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def found_when(port: CandidateGeneration, wanted: set[str]) -> set[str]:
    """What is found, once it is what is wanted; errors of a service that is starting are waited out."""
    found: set[str] | None = None
    async with asyncio.timeout(60):
        while found != wanted:
            try:
                found = set((await port.retrieve(asked(quotas={"popular": 10}), budget_ms=2_000)).item_ids)
            except ServiceError as error:
                if error.code is not grpc.StatusCode.UNAVAILABLE:
                    raise
            await asyncio.sleep(0.02)
    return found or set()


async def test_it_follows_the_catalogue_and_stops_cleanly(tmp_path: Path, unused_tcp_port: int) -> None:
    log = MemoryLog()
    await log.append([Item("a"), Item("b")])

    async with (
        feature_server(log, tmp_path) as feature_address,
        process(tmp_path, feature_address, unused_tcp_port) as alone,
        open_channel(f"127.0.0.1:{unused_tcp_port}") as channel,
    ):
        port = GrpcCandidateGeneration(channel)
        at_first = await found_when(port, {"a", "b"})
        await log.append([Item("c"), ItemDeletion("a")])
        later = await found_when(port, {"b", "c"})
        alone.send_signal(signal.SIGTERM)
        exit_code = await alone.wait()

    assert (at_first, later, exit_code) == ({"a", "b"}, {"b", "c"}, 0)


async def test_it_waits_for_its_feature_service_and_outlives_it(
    tmp_path: Path, unused_tcp_port_factory: Callable[[], int]
) -> None:
    log, feature_port, own_port = MemoryLog(), unused_tcp_port_factory(), unused_tcp_port_factory()
    await log.append([Item("a")])

    async with (
        process(tmp_path, f"127.0.0.1:{feature_port}", own_port),
        open_channel(f"127.0.0.1:{own_port}") as channel,
    ):
        port = GrpcCandidateGeneration(channel)
        await told(port, "NOT_READY")
        async with feature_server(log, tmp_path, feature_port):
            with_features = await found_when(port, {"a"})
        await loss_told(port, ("catalogue", "stale"))
        without_features = await found_when(port, {"a"})

    assert with_features == without_features == {"a"}


async def told(port: CandidateGeneration, reason: str) -> None:
    """Wait for an error with this reason."""
    async with asyncio.timeout(60):
        while True:
            try:
                await port.retrieve(asked(), budget_ms=2_000)
            except ServiceError as error:
                if error.reason.name == reason:
                    return
            await asyncio.sleep(0.02)


async def loss_told(port: CandidateGeneration, wanted: tuple[str, str]) -> None:
    """Wait for answers that name a certain loss."""
    lost: set[tuple[str, str]] = set()
    async with asyncio.timeout(60):
        while wanted not in lost:
            provenance = (await port.retrieve(asked(quotas={"popular": 10}), budget_ms=2_000)).provenance
            lost = {(each.stage, each.reason) for each in provenance.degraded}
            await asyncio.sleep(0.05)
