"""Where a test's feature service keeps its state: in SQLite's file, or in a namespace of a real Redis server."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from services.feature.redis_store import open_redis_store
from services.feature.sqlite_store import open_sqlite_store
from services.feature.store import FeatureStore
from tests.redis_server import RedisServer


@dataclass(frozen=True)
class StorePlace:
    """A place of one test's own.

    Attributes:
        folder: of everything that the test's services keep.
        server: None when the state lies in a file.
        namespace: on the server.
    """

    folder: Path
    server: RedisServer | None
    namespace: str

    @property
    def settings(self) -> dict[str, str]:
        """For a feature service."""
        if self.server is None:
            return {"store": "sqlite"}
        return {"store": "redis", "redis_url": self.server.url, "redis_namespace": self.namespace}

    def delete(self) -> None:
        """Take everything away; nobody may use it meanwhile."""
        if self.server is None:
            shutil.rmtree(self.folder / "feature")
        else:
            with self.server.client() as client:
                client.delete(*client.keys(f"{{{self.namespace}}}:*"))

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[FeatureStore]:
        """The store without a service."""
        if self.server is None:
            async with open_sqlite_store(self.folder / "feature" / "features.db") as file_store:
                yield file_store
        else:
            async with open_redis_store(self.server.place(self.namespace)) as redis_store:
                yield redis_store
