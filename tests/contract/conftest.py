"""Fixtures that several contracts share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.contract.features_adapters import World, over_grpc
from tests.fakes import MemoryLog
from tests.unit.feature.world import clock, running


@pytest.fixture(params=["in-process", "grpc"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """The feature service over an empty log, asked in process and by gRPC."""
    log = MemoryLog(clock)
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(running(tmp_path, log))
        features = app.features
        if request.param == "grpc":
            features = await stack.enter_async_context(over_grpc(app))
        yield World(log, app, features)
