"""Runs candidate generation alone: `python -m services.candidate_generation`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.candidate_generation.app import CandidateGenerationApp, open_candidate_generation
from services.candidate_generation.settings import CandidateGenerationSettings
from shared.clients.features import IDEMPOTENT_METHODS, GrpcFeatures
from shared.kernel.client import ChannelOptions
from shared.kernel.clock import Clock
from shared.kernel.hosting import connect, run_service
from shared.model.content_opening import open_text_encoder


@asynccontextmanager
async def open_alone(settings: CandidateGenerationSettings, clock: Clock) -> AsyncIterator[CandidateGenerationApp]:
    """The service on the catalogue of a feature service elsewhere."""
    options = ChannelOptions(idempotent_methods=IDEMPOTENT_METHODS)
    async with (
        connect(settings.feature_address, options) as channel,
        open_candidate_generation(settings, clock, GrpcFeatures(channel), open_text_encoder()) as app,
    ):
        yield app


if __name__ == "__main__":
    run_service("candidate_generation", CandidateGenerationSettings, open_alone)
