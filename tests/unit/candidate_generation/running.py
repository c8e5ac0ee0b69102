"""Candidate generation as it runs, on features in memory and a registry in a folder; called directly or over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.candidate_generation.app import CandidateGenerationApp, open_candidate_generation
from services.candidate_generation.settings import CandidateGenerationSettings
from shared.clients.candidate_generation import GrpcCandidateGeneration
from shared.domain.services import CandidateGeneration, Features
from shared.kernel.client import ChannelOptions, open_channel
from shared.kernel.clock import Clock, system_clock
from shared.kernel.config import load
from shared.kernel.server import GrpcServer

POLL_SECONDS = 0.02


def quick_settings(data_dir: Path, **overrides: object) -> CandidateGenerationSettings:
    """Settings that notice everything at once and never run out of time."""
    return load(
        CandidateGenerationSettings,
        **{
            "data_dir": data_dir,
            "bundle_poll_seconds": POLL_SECONDS,
            "top_lists_poll_seconds": POLL_SECONDS,
            "source_timeout_ms": 20_000,
            **overrides,
        },
    )


@asynccontextmanager
async def running(
    settings: CandidateGenerationSettings, features: Features, clock: Clock = system_clock
) -> AsyncIterator[CandidateGenerationApp]:
    """The service with its background tasks."""
    async with open_candidate_generation(settings, clock, features) as app:
        yield app


@asynccontextmanager
async def over_grpc(app: CandidateGenerationApp) -> AsyncIterator[tuple[CandidateGeneration, str]]:
    """The port through a real server on a free port, and the server's address."""
    async with (
        GrpcServer("127.0.0.1:0", [app.hosted]) as server,
        open_channel(server.address, ChannelOptions(timeout_ms=30_000)) as channel,
    ):
        yield GrpcCandidateGeneration(channel), server.address
