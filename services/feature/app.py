"""The feature service put together: store, projection, the tasks that feed them, and what is hosted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from winnow.v1.feature_service_pb2 import DESCRIPTOR
from winnow.v1.feature_service_pb2_grpc import add_FeatureServiceServicer_to_server

from services.feature.catalogue import Catalogue
from services.feature.content import keeping_content
from services.feature.dump import dump
from services.feature.features import ProjectedFeatures
from services.feature.memory_store import MemoryFeatureStore
from services.feature.online_quality import OnlineQuality
from services.feature.paging import PageTokens
from services.feature.progress import Progress
from services.feature.projection import Projection
from services.feature.servicer import FeatureServicer
from services.feature.settings import DAY_MS, FeatureSettings
from services.feature.sqlite_store import open_sqlite_store
from services.feature.store import FeatureStore
from services.feature.updater import Updater
from services.feature.users import Users
from services.feature.writer import Writer
from shared.domain.services import Features, Feedback
from shared.kernel.background import Backoff, Supervised
from shared.kernel.clock import Clock
from shared.kernel.config import ConfigError
from shared.kernel.readiness import Readiness
from shared.kernel.server import Hosted
from shared.model.content_vectors import ContentVectors

SERVICE_NAME = DESCRIPTOR.services_by_name["FeatureService"].full_name


@dataclass(frozen=True)
class FeatureApp:
    """The running service.

    Attributes:
        hosted: for a server.
        features: for other services in the same process.
        dump: stores what waits and gives the whole state as canonical bytes.
    """

    hosted: Hosted
    features: Features
    dump: Callable[[], Awaitable[bytes]]


@asynccontextmanager
async def open_feature(
    settings: FeatureSettings, clock: Clock, feedback: Feedback, vectors: ContentVectors | None = None
) -> AsyncIterator[FeatureApp]:
    """Bring back what is stored and follow the log from there, until the block ends.

    Args:
        settings: of the service.
        clock: Unix milliseconds.
        feedback: whose log is followed.
        vectors: makes content vectors; None: items have those that their callers sent.

    Raises:
        ConfigError: the store cannot be used.
    """
    async with AsyncExitStack() as stack:
        store = await _open_store(settings, stack)
        projection = await load_projection(store, settings.cached_events)
        readiness = Readiness()
        writer = _writer(settings, store, projection)
        stack.push_async_callback(writer.close)
        keeper = await stack.enter_async_context(keeping_content(projection, vectors)) if vectors else None
        tasks = await stack.enter_async_context(Supervised())
        if keeper:
            await keeper.restore()
            tasks.start("feature-content", keeper.run)
        tasks.start("feature-store", writer.run)
        tasks.start("feature-scrub", writer.scrub)
        tasks.start("feature-log", _updater(settings, clock, feedback, writer, readiness).run)
        features = ProjectedFeatures(
            projection,
            PageTokens(await store.page_token_key()),
            clock,
            settings.lifetimes,
            settings.content_max_age_days * DAY_MS,
        )
        servicer = FeatureServicer(features, settings.wait_limit_ms)
        register = partial(add_FeatureServiceServicer_to_server, servicer)
        yield FeatureApp(Hosted((SERVICE_NAME,), register, readiness), features, partial(_dump, writer))


async def load_projection(store: FeatureStore, cached_events: int) -> Projection:
    """The projection as it was stored: the catalogue in memory, users when they are asked for."""
    projection = Projection(Users(store, cached_events), Catalogue(), Progress())
    await projection.load(store)
    return projection


async def _open_store(settings: FeatureSettings, stack: AsyncExitStack) -> FeatureStore:
    if settings.store == "memory":
        return MemoryFeatureStore()
    if settings.store == "redis":
        return await stack.enter_async_context(_open_redis(settings))
    return await stack.enter_async_context(open_sqlite_store(settings.data_dir / "feature" / "features.db"))


def _open_redis(settings: FeatureSettings) -> AbstractAsyncContextManager[FeatureStore]:
    try:
        # The client is an optional extra: only who asks for Redis needs it.
        from services.feature.redis_connection import RedisPlace  # noqa: PLC0415
        from services.feature.redis_store import open_redis_store  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"WINNOW_FEATURE_STORE='redis': {error}; install the extra: pip install 'winnow[redis]'"
        ) from error
    return open_redis_store(RedisPlace(settings.redis_url, settings.redis_namespace, settings.redis_cluster))


async def _dump(writer: Writer) -> bytes:
    await writer.flush()
    return await dump(writer.projection.stored, writer.projection.catalogue, writer.store)


def _writer(settings: FeatureSettings, store: FeatureStore, projection: Projection) -> Writer:
    backoff = Backoff(settings.retry_first_ms, settings.retry_limit_ms)
    return Writer(
        projection, store, interval_ms=settings.store_interval_ms, limit=settings.pending_rows, backoff=backoff
    )


def _updater(
    settings: FeatureSettings, clock: Clock, feedback: Feedback, writer: Writer, readiness: Readiness
) -> Updater:
    return Updater(
        feedback=feedback,
        projection=writer.projection,
        writer=writer,
        readiness=readiness,
        clock=clock,
        batch_size=settings.batch_records,
        backoff=Backoff(settings.retry_first_ms, settings.retry_limit_ms),
        quality=OnlineQuality(clock(), settings.joined_entries),
    )
