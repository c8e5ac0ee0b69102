"""Empty stores of every kind for the property tests of the projection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from services.feature.memory_store import MemoryFeatureStore
from services.feature.redis_store import open_redis_store
from services.feature.sqlite_store import open_sqlite_store
from services.feature.store import FeatureStore
from tests.redis_server import RedisServer, redis_server

_numbers = count()


@dataclass(frozen=True)
class Stores:
    """Empty stores of one kind, a new one for each story."""

    kind: str
    server: RedisServer | None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FeatureStore]:
        """One of them."""
        if self.kind == "memory":
            yield MemoryFeatureStore()
        elif self.server is None:
            with TemporaryDirectory() as folder:
                async with open_sqlite_store(Path(folder) / "features.db") as file_store:
                    yield file_store
        else:
            async with open_redis_store(self.server.place(f"story-{next(_numbers)}")) as redis_store_:
                yield redis_store_


@pytest.fixture(scope="module", params=["memory", "sqlite", "redis"])
def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("redis")
        server = stack.enter_context(redis_server(folder)) if request.param == "redis" else None
        yield Stores(request.param, server)
