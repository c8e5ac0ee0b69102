"""The ports to the feature service, in process and by gRPC, over one log: what the tests of `Features` share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.feature.app import FeatureApp
from shared.clients.features import GrpcFeatures
from shared.domain.event_log import Fact
from shared.domain.services import Features
from shared.domain.user_state import ItemChanges, UserState
from shared.domain.watermark import Watermark
from shared.kernel.client import open_channel
from shared.kernel.server import GrpcServer
from tests.fakes import MemoryLog
from tests.unit.feature.world import ENOUGH_MS


@dataclass(frozen=True)
class World:
    """A log, the service behind it, and the port to it."""

    log: MemoryLog
    app: FeatureApp
    features: Features

    async def record(self, *facts: Fact) -> Watermark:
        """Append facts and wait until they show."""
        position = await self.log.append(facts)
        await self.state("nobody", position)
        return position

    async def state(self, user_id: str, at: Watermark | None = None, history_limit: int = 200) -> UserState:
        """A user's state at or behind a position."""
        return await self.features.user_state(
            user_id, at or Watermark(), history_limit=history_limit, budget_ms=ENOUGH_MS
        )


@asynccontextmanager
async def over_grpc(app: FeatureApp) -> AsyncIterator[Features]:
    async with GrpcServer("127.0.0.1:0", [app.hosted]) as server, open_channel(server.address) as channel:
        yield GrpcFeatures(channel)


async def first_run(changes: AsyncIterator[ItemChanges]) -> list[ItemChanges]:
    """Messages up to the one that says caught up."""
    messages = []
    async for message in changes:
        messages.append(message)
        if message.caught_up:
            break
    return messages
