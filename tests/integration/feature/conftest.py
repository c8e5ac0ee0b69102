"""Places for the feature service's state: the same tests run on each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.integration.feature.store_places import StorePlace
from tests.redis_server import RedisServer, redis_server

_numbers = count()


@pytest.fixture(scope="module")
def redis_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that writes every command to its file before it answers."""
    with redis_server(tmp_path_factory.mktemp("redis"), "--appendfsync", "always") as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StorePlace:
    """Nobody else's; the server is started for the tests that need it."""
    server = request.getfixturevalue("redis_of_module") if request.param == "redis" else None
    return StorePlace(tmp_path, server, f"test-{next(_numbers)}")
