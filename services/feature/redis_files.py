"""The files of Redis servers, written anew, so that nothing that was erased is left in them.

An append-only file holds every command since its last rewrite, and a snapshot holds what there was when it was taken.
"""

from __future__ import annotations

import time
from typing import Any, Final

import redis
import structlog

from services.feature.redis_connection import Client

log = structlog.get_logger()

POLL_SECONDS: Final = 0.02


def rewrite_files(client: Client, key: str) -> None:
    """Returns when every server of the key has written its files anew: in a cluster its replicas too.

    A server that does not let us (managed ones have no such commands) is told of in the log.
    """
    for server in _servers(client, key):
        try:
            _rewrite(server)
        except redis.ResponseError as error:
            log.warning("feature.redis.not_scrubbed", reason=str(error))


def _servers(client: Client, key: str) -> list[redis.Redis]:
    if isinstance(client, redis.RedisCluster):
        nodes = client.nodes_manager.slots_cache[client.keyslot(key)]  # type: ignore[no-untyped-call]  # of redis-py
        return [client.get_redis_connection(node) for node in nodes]
    return [client]


def _rewrite(server: redis.Redis) -> None:
    if _persistence(server)["aof_enabled"]:
        _wait(server, "aof_rewrite_in_progress", "aof_rewrite_scheduled")
        server.bgrewriteaof()
        _wait(server, "aof_rewrite_in_progress", "aof_rewrite_scheduled")
        _assert_ok(server, "aof_last_bgrewrite_status")
    if any(server.config_get("save").values()):
        _wait(server, "rdb_bgsave_in_progress")
        server.bgsave()
        _wait(server, "rdb_bgsave_in_progress")
        _assert_ok(server, "rdb_last_bgsave_status")
    server.slowlog_reset()  # slow commands are held with their arguments: ids


def _wait(server: redis.Redis, *running: str) -> None:
    while any(_persistence(server).get(name) for name in running):
        time.sleep(POLL_SECONDS)


def _assert_ok(server: redis.Redis, status: str) -> None:
    if (found := _persistence(server).get(status)) != "ok":
        raise redis.ConnectionError(f"{status} is {found}: the server could not write its files")


def _persistence(server: redis.Redis) -> dict[str, Any]:
    return dict(server.info("persistence"))
