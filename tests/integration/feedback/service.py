"""A feedback service on a free port, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from services.feedback.app import FeedbackApp, open_feedback
from services.feedback.settings import FeedbackSettings
from shared.clients.feedback import GrpcFeedback
from shared.kernel.client import ChannelOptions, open_channel
from shared.kernel.config import load
from shared.kernel.server import GrpcServer, ServerOptions
from tests.contract.event_log_adapters import clock


@dataclass(frozen=True)
class Service:
    """The service, from inside and from outside."""

    app: FeedbackApp
    address: str
    channel: grpc.aio.Channel
    client: GrpcFeedback


@asynccontextmanager
async def serving(data_dir: Path, **settings: object) -> AsyncIterator[Service]:
    """Run the service over a data folder."""
    chosen = load(FeedbackSettings, data_dir=data_dir, address="127.0.0.1:0", **settings)
    options = ServerOptions(drain_grace_ms=0)
    async with (
        open_feedback(chosen, clock) as app,
        GrpcServer(chosen.address, [app.hosted], options) as server,
        open_channel(server.address, ChannelOptions(timeout_ms=30_000)) as channel,
    ):
        yield Service(app, server.address, channel, GrpcFeedback(channel))
