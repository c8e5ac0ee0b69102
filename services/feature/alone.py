"""The feature service as a process of its own, following the log of a feedback service elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from shared.clients.feedback import GrpcFeedback

from services.feature.app import open_feature
from services.feature.settings import FeatureSettings
from shared.kernel.client import open_channel
from shared.kernel.clock import system_clock
from shared.kernel.config import load
from shared.kernel.process import ProcessSettings, process, run_until_signal
from shared.kernel.server import GrpcServer
from shared.kernel.telemetry import serve_metrics


def main() -> None:
    """Run the service alone, with the log of the feedback service at its address."""
    settings, process_settings = load(FeatureSettings), load(ProcessSettings)
    with (
        process(process_settings, "feature"),
        serve_metrics(process_settings.metrics_host, settings.metrics_port),
    ):
        run_until_signal(partial(_serve, settings))


@asynccontextmanager
async def _serve(settings: FeatureSettings) -> AsyncIterator[None]:
    async with (
        open_channel(settings.feedback_address) as channel,
        open_feature(settings, system_clock, GrpcFeedback(channel)) as app,
        GrpcServer(settings.address, [app.hosted]),
    ):
        yield
