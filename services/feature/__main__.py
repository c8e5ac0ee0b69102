"""Runs the feature service alone: `python -m services.feature`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.feature.app import FeatureApp, open_feature
from services.feature.settings import FeatureSettings
from shared.clients.feedback import GrpcFeedback
from shared.kernel.clock import Clock
from shared.kernel.hosting import connect, run_service
from shared.model.content_opening import open_content


@asynccontextmanager
async def open_alone(settings: FeatureSettings, clock: Clock) -> AsyncIterator[FeatureApp]:
    """The service on the log of a feedback service elsewhere."""
    async with (
        connect(settings.feedback_address) as channel,
        open_feature(settings, clock, GrpcFeedback(channel), open_content()) as app,
    ):
        yield app


if __name__ == "__main__":
    run_service("feature", FeatureSettings, open_alone)
