"""The connection to Redis: how it is opened and checked, and what its errors mean. Nobody sees its password."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import redis
import structlog
from pydantic import SecretStr
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from shared.kernel.config import ConfigError
from shared.kernel.errors import ErrorReason, ServiceError

log = structlog.get_logger()

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 10.0
"""Longest wait for one answer; a commit of 200,000 rows takes a second."""
RETRIES: Final = 3
"""Of one command, within about a second; then the caller is told, and tries again in its own time."""
START_SECONDS: Final = 30.0
"""Longest wait at the start for a server that is not up yet, or still reads its files."""

REDIS_ERRORS: Final = (redis.RedisError, redis.exceptions.RedisClusterException)
"""Of a cluster that cannot be reached redis-py tells with an exception that is none of its own."""

Client = Any
"""`redis.Redis` or `redis.RedisCluster`: their types share no base, their commands are the same."""


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """Where the rows are kept.

    Attributes:
        url: `redis://`, `rediss://` (TLS) or `unix://`; may hold user and password.
        namespace: begins every key, as their hash tag: one service's rows lie in one slot.
        cluster: the server is a node of a Redis Cluster.
    """

    url: SecretStr
    namespace: str
    cluster: bool = False

    @property
    def shown(self) -> str:
        """The address without user, password and options."""
        parts = urlsplit(self.url.get_secret_value())
        host = f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else ""
        return f"{parts.scheme}://{host}{parts.path} ({self.namespace})"


def connect(place: RedisPlace) -> Client:
    """A client; it connects when it is first used.

    Raises:
        ConfigError: the URL is none.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "retry": Retry(ExponentialWithJitterBackoff(cap=0.5, base=0.05), RETRIES),
    }
    try:
        if place.cluster:
            return redis.RedisCluster.from_url(place.url.get_secret_value(), **options)
        return redis.Redis.from_url(place.url.get_secret_value(), **options)
    except ValueError as error:  # never show the value: it may hold a password
        raise ConfigError(f"WINNOW_FEATURE_REDIS_URL=(secret): {error}") from None


def open_client(place: RedisPlace) -> Client:
    """A client of a server that answers and does not throw rows away; waits for a server that is not up yet.

    Raises:
        ConfigError: it does not answer, refuses us, or evicts keys.
    """
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            client = connect(place)
            client.ping()
        except redis.AuthenticationError as error:
            raise ConfigError(f"the feature store {place.shown} refuses the login: {error}") from error
        except REDIS_ERRORS as error:
            if time.monotonic() > end:
                raise ConfigError(_unusable(place, error)) from error
            log.warning("feature.redis.waiting", server=place.shown, reason=str(error))
            time.sleep(CONNECT_SECONDS / 4)
        else:
            _checked(client, place)
            return client


def store_error(place: RedisPlace, error: Exception) -> ServiceError:
    """What Redis says, as the service's error."""
    if isinstance(error, redis.OutOfMemoryError) or "No space left" in str(error):
        return ServiceError(
            ErrorReason.STORAGE_FULL,
            f"the feature store {place.shown} is full: {error}; give it more memory or disk",
            metadata={"path": place.shown},
        )
    return ServiceError(
        ErrorReason.STORAGE_UNAVAILABLE,
        f"the feature store {place.shown} cannot be used: {error}",
        metadata={"component": "feature-store"},
    )


def info(client: Client, section: str, key: str) -> dict[str, Any]:
    """A section of INFO, in a cluster of the node that holds the key."""
    if isinstance(client, redis.RedisCluster):
        node = client.get_node_from_key(key)  # type: ignore[no-untyped-call]  # of redis-py
        return dict(client.info(section, target_nodes=node))
    return dict(client.info(section))


def _checked(client: Client, place: RedisPlace) -> None:
    try:
        _check(client, place)
    except REDIS_ERRORS as error:  # INFO may be forbidden to us
        raise ConfigError(_unusable(place, error)) from error


def _check(client: Client, place: RedisPlace) -> None:
    tag = f"{{{place.namespace}}}"
    policy = str(info(client, "memory", tag).get("maxmemory_policy", "noeviction"))
    if policy.startswith("allkeys"):
        raise ConfigError(
            f"the feature store {place.shown} has maxmemory-policy={policy}, which throws rows away: "
            f"set it to noeviction, or use a Redis of its own"
        )
    if not info(client, "persistence", tag).get("aof_enabled"):
        log.warning(
            "feature.redis.volatile",
            server=place.shown,
            reason="appendonly is off: after a restart of Redis more of the log, or all of it, is applied again",
        )


def _unusable(place: RedisPlace, error: Exception) -> str:
    return (
        f"the feature store {place.shown} cannot be used: {error}; start Redis there, or set WINNOW_FEATURE_REDIS_URL "
        f"(WINNOW_FEATURE_STORE=sqlite needs no server)"
    )
