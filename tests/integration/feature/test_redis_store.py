"""The feature service on a real Redis server: when it dies, comes back with less, is taken over, or is full."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from services.feature import redis_connection
from services.feature.app import FeatureApp, open_feature
from services.feature.redis_connection import RedisPlace
from services.feature.redis_store import open_redis_store
from services.feature.store import Changes, StoredUser, StoreMovedError, UserChange
from shared.domain.event_log import Fact
from shared.domain.user_state import UserState
from shared.domain.watermark import Watermark
from shared.kernel.config import ConfigError
from shared.kernel.errors import ErrorReason, ServiceError
from tests.fakes import MemoryLog
from tests.integration.feature.embedded import clean_pass, until
from tests.redis_server import RedisServer, redis_cluster, redis_server
from tests.unit.feature.world import ENOUGH_MS, catalogue_of, clock, event, running, settings, slate

USERS = [f"user-{number}" for number in range(20)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis", "--appendfsync", "always") as started:
        yield started


def on(server: RedisServer, **more: object) -> dict[str, object]:
    """Settings of a service that keeps hardly anybody in memory."""
    return {"store": "redis", "redis_url": server.url, "redis_namespace": "test", "cached_events": 1_000} | more


def facts(turn: int) -> list[Fact]:
    """A few of every kind."""
    events = [event(user_id, f"i{turn % 7}", event_id=f"{turn}-{user_id}") for user_id in USERS]
    return [*events, *catalogue_of(3), slate(USERS[turn % 20], ["i1"], recommendation_id=f"slate-{turn}")]


def change(user_id: str, events: int) -> UserChange:
    return UserChange(
        StoredUser(user_id, f"subject-{user_id}", {}, {}, {}, ()),
        [(number, number + 1, "i", 3, 0.0, "e" * 1_000) for number in range(events)],
    )


async def state(app: FeatureApp, user_id: str, at: Watermark | None = None) -> UserState:
    return await app.features.user_state(user_id, at or Watermark(), history_limit=1_000, budget_ms=ENOUGH_MS)


async def until_status(app: FeatureApp, *, caught_up: bool) -> None:
    while (await app.features.status()).caught_up is not caught_up:
        await asyncio.sleep(0.005)


async def stored(server: RedisServer, position: Watermark) -> None:
    """Wait until the server holds this position."""
    with server.client() as client:
        while (client.hget("{test}:state", "position") or b"").decode() != str(position):
            await asyncio.sleep(0.005)


async def test_a_restart_goes_on_where_the_server_is(tmp_path: Path, server: RedisServer) -> None:
    log = MemoryLog(clock)
    await log.append([fact for turn in range(5) for fact in facts(turn)])
    async with running(tmp_path, log, **on(server)) as app:
        before = await app.dump()

    async with running(tmp_path, log, **on(server)) as app:
        applied = (await app.features.status()).applied_records
        again = await app.dump()

    assert applied == 0
    assert again == before == await clean_pass(log)


async def test_a_server_that_is_killed_again_and_again_costs_nothing(tmp_path: Path, server: RedisServer) -> None:
    log = MemoryLog(clock)
    async with running(tmp_path, log, **on(server, cached_events=10**6)) as app:
        for turn in range(12):
            await log.append(facts(turn))
            if turn % 3 == 1:
                server.stop(signal.SIGKILL)
            await asyncio.sleep(0.01 * (turn % 4))  # so that it dies at different points of a commit
            if turn % 3 == 2:
                server.start()
        await until_status(app, caught_up=True)

        assert await app.dump() == await clean_pass(log)


async def test_a_cluster_that_goes_away_is_a_store_that_cannot_be_used(tmp_path: Path) -> None:
    with redis_cluster(tmp_path / "redis") as server:
        async with open_redis_store(server.place("test", cluster=True)) as store:
            server.stop(signal.SIGKILL)

            with pytest.raises(ServiceError) as caught:
                await store.position()

    assert caught.value.reason == ErrorReason.STORAGE_UNAVAILABLE


async def test_a_cluster_that_is_not_there_stops_the_start_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_connection, "START_SECONDS", 0.1)
    place = RedisServer(tmp_path).place("test", cluster=True)

    with pytest.raises(ConfigError, match="WINNOW_FEATURE_REDIS_URL"):
        async with open_redis_store(place):
            pass


async def test_a_server_that_takes_no_writes_stops_the_start(server: RedisServer) -> None:
    with server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", str(RedisServer(server.folder).port))

    with pytest.raises(ConfigError, match="WINNOW_FEATURE_REDIS_URL"):
        async with open_redis_store(server.place("test")):
            pass


async def test_without_the_server_known_users_are_answered_and_others_are_told_so(
    tmp_path: Path, server: RedisServer
) -> None:
    log = MemoryLog(clock)
    async with running(tmp_path, log, **on(server)) as app:
        position = await log.append([event("evicted", f"i{n}") for n in range(900)])
        await state(app, "evicted", position)
        await stored(server, position)
        position = await log.append([event("kept", f"i{n}") for n in range(900)])
        await state(app, "kept", position)
        await stored(server, position)
        server.stop(signal.SIGKILL)

        later = await log.append([event("kept", "while-down")])
        kept = await state(app, "kept", later)
        with pytest.raises(ServiceError) as caught:
            await state(app, "evicted")
        await until_status(app, caught_up=False)
        server.start()
        await until_status(app, caught_up=True)
        evicted = await state(app, "evicted", later)
        await stored(server, later)

    assert kept.history.item_ids[-1] == "while-down"
    assert caught.value.reason == ErrorReason.STORAGE_UNAVAILABLE
    assert caught.value.retry_after_ms
    assert len(evicted.history) == 900


async def test_a_server_set_back_to_an_older_state_is_noticed_and_caught_up(
    tmp_path: Path, server: RedisServer
) -> None:
    log = MemoryLog(clock)
    async with running(tmp_path, log, **on(server)) as app:
        first = await log.append([fact for turn in range(20) for fact in facts(turn)])
        await stored(server, first)
        server.stop()
        shutil.copytree(server.folder, tmp_path / "backup")
        server.start()
        second = await log.append([fact for turn in range(20, 80) for fact in facts(turn)])
        await stored(server, second)

        server.stop(signal.SIGKILL)
        shutil.rmtree(server.folder)
        (tmp_path / "backup").rename(server.folder)
        server.start()
        third = await log.append(facts(99))
        await stored(server, third)

        assert {len((await state(app, user_id)).history) for user_id in USERS} == {81}
        assert await app.dump() == await clean_pass(log)
        assert app.hosted.readiness.ready


async def test_an_emptied_server_is_filled_again_while_the_service_runs(tmp_path: Path, server: RedisServer) -> None:
    log = MemoryLog(clock)
    async with running(tmp_path, log, **on(server)) as app:
        await stored(server, await log.append([fact for turn in range(60) for fact in facts(turn)]))
        with server.client() as client:
            client.flushall()

        with pytest.raises(StoreMovedError):
            await app.dump() if await log.append(facts(60)) else None
        await stored(server, log.records[-1].watermark)

        assert await app.dump() == await clean_pass(log)


async def test_an_idle_service_notices_a_set_back_at_the_next_read(tmp_path: Path, server: RedisServer) -> None:
    log = MemoryLog(clock)
    async with running(tmp_path, log, **on(server)) as app:
        position = await log.append([fact for turn in range(90) for fact in facts(turn)])
        await stored(server, position)
        kept = app.features.projection.users._entries  # type: ignore[attr-defined]
        while not (evicted := set(USERS) - kept.keys()):  # once the service has heard that they are stored
            await asyncio.sleep(0.005)
        with server.client() as client:
            client.flushall()

        with pytest.raises(ServiceError, match="set back"):
            await state(app, min(evicted))
        await stored(server, position)

        assert len((await state(app, min(evicted), position)).history) == 90


async def test_who_opens_a_namespace_takes_it_over_and_the_other_writes_no_more(server: RedisServer) -> None:
    async with open_redis_store(server.place("test")) as first:
        await first.commit(Changes(Watermark.of(1), users=[change("anna", 1)]))
        async with open_redis_store(server.place("test")) as second:
            with pytest.raises(ServiceError, match=r"taken over by another process.*REDIS_NAMESPACE"):
                await first.commit(Changes(Watermark.of(2), users=[change("ben", 1)]))
            with pytest.raises(ServiceError, match="taken over"):
                await first.users(["anna"])

            assert await second.position() == Watermark.of(1)
            assert await second.count_users() == 1


async def test_two_namespaces_on_one_server_know_nothing_of_each_other(server: RedisServer) -> None:
    async with open_redis_store(server.place("one")) as one, open_redis_store(server.place("two")) as two:
        await one.commit(Changes(Watermark.of(1), users=[change("anna", 1)]))
        await two.commit(Changes(Watermark.of(2), users=[change("ben", 1)]))
        await one.clear()

        assert await one.count_users() == 0
        assert [found.user.user_id async for found in two.all_users()] == ["ben"]


async def test_a_commit_whose_answer_was_lost_is_not_taken_for_a_set_back(server: RedisServer) -> None:
    changes = Changes(Watermark.of(1), users=[change("anna", 1)])
    async with open_redis_store(server.place("test")) as store:
        store._tenure.begin(changes)  # sent, and the connection broke before the answer
        with server.client() as client:
            client.hset("{test}:state", mapping={"commit": store._tenure.begin(changes), "position": "w1-0.1"})

        await store.commit(changes)
        await store.commit(Changes(Watermark.of(2)))

        assert await store.position() == Watermark.of(2)


async def test_a_full_server_refuses_the_whole_commit_and_takes_it_when_there_is_room(server: RedisServer) -> None:
    changes = Changes(Watermark.of(9), users=[change(f"u{number}", 5) for number in range(50)])
    async with open_redis_store(server.place("test")) as store:
        with server.client() as client:
            client.config_set("maxmemory", 1)
            with pytest.raises(ServiceError) as caught:
                await store.commit(changes)
            users, position = await store.count_users(), await store.position()
            client.config_set("maxmemory", 0)
        await store.commit(changes)

        assert caught.value.reason == ErrorReason.STORAGE_FULL
        assert (users, position) == (0, Watermark())
        assert (await store.count_users(), await store.position()) == (50, Watermark.of(9))


async def test_a_server_that_throws_rows_away_is_refused_with_the_remedy(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")

    with pytest.raises(ConfigError, match=r"maxmemory-policy=allkeys-lru.*noeviction"):
        async with open_redis_store(server.place("test")):
            pass


async def test_a_store_of_another_version_is_emptied_for_the_log_to_fill(server: RedisServer) -> None:
    async with open_redis_store(server.place("test")) as store:
        await store.commit(Changes(Watermark.of(3), users=[change("anna", 1)]))
    with server.client() as client:
        client.hset("{test}:state", "version", "0")

    async with open_redis_store(server.place("test")) as store:
        assert await store.position() == Watermark()
        assert await store.count_users() == 0
    with server.client() as client:
        assert client.keys() == [b"{test}:state"]


async def test_a_wrong_password_is_told_without_the_password(server: RedisServer) -> None:
    place = RedisPlace(SecretStr(f"redis://someone:s3cret-word@127.0.0.1:{server.port}/0"), "test")

    with pytest.raises(ConfigError) as caught:
        async with open_redis_store(place):
            pass

    assert "refuses the login" in str(caught.value)
    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert "s3cret-word" not in f"{caught.value} {place!r}"
    assert "someone" not in str(caught.value)


async def test_the_password_is_in_no_line_of_the_log_while_the_server_is_away(
    tmp_path: Path, server: RedisServer
) -> None:
    with server.client() as client:
        client.config_set("requirepass", "s3cret-word")
    url = f"redis://:s3cret-word@127.0.0.1:{server.port}/0"
    log = MemoryLog(clock)
    with structlog.testing.capture_logs() as lines:
        async with open_feature(settings(tmp_path, store="redis", redis_url=url), clock, log) as app:
            await app.hosted.readiness.wait_ready()
            server.stop()
            await log.append([event("anna", "i1")])
            await until_status(app, caught_up=False)

    assert "feature.store.refused" in [line["event"] for line in lines]
    assert "s3cret-word" not in repr(lines)
    assert "s3cret-word" not in repr(settings(tmp_path, redis_url=url))


async def test_a_url_that_is_none_is_refused_without_showing_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"WINNOW_FEATURE_REDIS_URL=\(secret\)") as caught:
        async with open_redis_store(RedisPlace(SecretStr("s3cret-word"), "test")):
            pass

    assert "s3cret-word" not in str(caught.value)


async def test_without_the_extra_the_message_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("services.feature.redis_")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(ConfigError, match=r"pip install 'winnow\[redis\]'"):
        async with open_feature(settings(tmp_path, store="redis"), clock, MemoryLog(clock)):
            pass


async def test_no_byte_of_an_erased_user_is_left_on_the_server(tmp_path: Path, server: RedisServer) -> None:
    log = MemoryLog(clock)
    words = [b"victim", b"secret-item"]
    with server.client() as client:
        client.config_set("save", "3600 1")
        client.config_set("slowlog-log-slower-than", 0)
        async with running(tmp_path / "service", log, **on(server)) as app:
            for turn in range(30):
                await log.append([*facts(turn), event("victim", "secret-item"), slate("victim", ["secret-item"])])
            await stored(server, log.records[-1].watermark)
            client.save()
            before = found(server, words)

            subject = log.subject("victim").encode()
            await log.erase("victim")
            await stored(server, log.records[-1].watermark)
            await until(lambda: client.hget("{test}:state", "scrub") == b"")
            await until(lambda: found(server, [*words, subject]) == {})  # old files are unlinked in the background

            assert {"memory", "slowlog", "dump.rdb"} < before.keys()
            assert found(server, [b"user-7"]).keys() >= {"memory", "dump.rdb"}
            assert len((await state(app, "victim")).history) == 0


def found(server: RedisServer, words: list[bytes]) -> dict[str, list[bytes]]:
    """Where any of the words stands: in keys and values, in the slow log, in files."""
    places = {path.name: path.read_bytes() for path in server.folder.rglob("*") if path.is_file()}
    with server.client() as client:
        places["memory"] = b" ".join(key + b" " + repr(_value(client, key)).encode() for key in client.scan_iter())
        places["slowlog"] = b" ".join(entry["command"] for entry in client.slowlog_get(1_000))
    held = {name: [word for word in words if word in data] for name, data in places.items()}
    return {name: there for name, there in held.items() if there}


def _value(client: object, key: bytes) -> object:
    read = {b"hash": client.hgetall, b"zset": lambda name: client.zrange(name, 0, -1)}  # type: ignore[attr-defined]
    return read[client.type(key)](key)  # type: ignore[attr-defined]
