"""What every feature store promises, whatever it is made of."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from services.feature.memory_store import MemoryFeatureStore
from services.feature.redis_connection import RedisPlace
from services.feature.redis_store import open_redis_store
from services.feature.sqlite_store import open_sqlite_store
from services.feature.store import (
    Changes,
    FeatureStore,
    StoredCounts,
    StoredEvent,
    StoredItem,
    StoredSlate,
    StoredUser,
    UserChange,
)
from shared.domain.expiry import Expiry
from shared.domain.history import HISTORY_LIMIT
from shared.domain.items import ContentVector, Item, User
from shared.domain.user_state import ItemStatus
from shared.domain.watermark import Watermark
from tests.redis_server import RedisServer, redis_cluster, redis_server

ADAPTERS = ("memory", "sqlite", "redis", "redis-cluster")
_numbers = count()


@dataclass(frozen=True)
class Servers:
    """Started when first asked for, shared by the tests of this file: each takes a namespace of its own."""

    folder: Path
    running: dict[str, RedisServer]
    stack: ExitStack

    def place(self, adapter: str) -> RedisPlace:
        """A namespace that nobody used."""
        start = redis_cluster if adapter == "redis-cluster" else redis_server
        if adapter not in self.running:
            self.running[adapter] = self.stack.enter_context(start(self.folder / adapter))
        return self.running[adapter].place(f"test-{next(_numbers)}", cluster=adapter == "redis-cluster")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("redis"), {}, stack)


@asynccontextmanager
async def opened(adapter: str, folder: Path, servers: Servers) -> AsyncIterator[FeatureStore]:
    if adapter == "memory":
        yield MemoryFeatureStore()
    elif adapter == "sqlite":
        async with open_sqlite_store(folder / "features.db") as store:
            yield store
    else:
        async with open_redis_store(servers.place(adapter)) as redis_store:
            yield redis_store


@pytest.fixture(params=ADAPTERS)
async def store(request: pytest.FixtureRequest, tmp_path: Path, servers: Servers) -> AsyncIterator[FeatureStore]:
    async with opened(request.param, tmp_path, servers) as opened_store:
        yield opened_store


def user(user_id: str, subject: str = "", profile: User | None = None) -> StoredUser:
    return StoredUser(user_id, subject or f"subject-{user_id}", {}, {}, {}, (), profile)


def events(count: int, *, start: int = 0) -> list[StoredEvent]:
    return [(1_000 * n, n + 1, f"i{n % 7}", 3, 1.5, f"e{n}") for n in range(start, start + count)]


def at(offset: int, **changes: object) -> Changes:
    return Changes(Watermark.of(offset), **changes)  # type: ignore[arg-type]  # each test passes what Changes takes


def change(user_id: str, added: list[StoredEvent], keep_from_ms: int | None = None) -> UserChange:
    return UserChange(user(user_id), added, keep_from_ms)


async def history(store: FeatureStore, user_id: str) -> list[StoredEvent]:
    (found,) = await store.users([user_id])
    return list(found.events)


async def test_a_new_store_is_at_the_beginning_of_the_log_and_empty(store: FeatureStore) -> None:
    assert await store.position() == Watermark()
    assert await store.users(["anna"]) == []
    assert await store.count_users() == 0
    assert await store.all_items() == []
    assert await store.all_counts() == []
    assert not await store.needs_scrub()


async def test_the_position_moves_with_the_rows(store: FeatureStore) -> None:
    await store.commit(at(5, users=[change("anna", events(2))]))

    assert await store.position() == Watermark.of(5)
    assert await history(store, "anna") == events(2)


async def test_a_position_in_several_partitions_comes_back(store: FeatureStore) -> None:
    position = Watermark(((0, 7), (3, 9)))

    await store.commit(Changes(position))

    assert await store.position() == position


async def test_everything_of_a_user_comes_back(store: FeatureStore) -> None:
    profile = User("ünïcode", ("jazz",), {"age": 7.0, "vip": True, "city": "Zürich"})
    stored = StoredUser(
        user_id="ünïcode",
        subject="s1",
        event_counts={3: 2, 99: 1},
        hidden={"h1": (7, 1), "h2": (5, 9)},
        followed={"creator": (10, 2), "": (11, 3)},
        slates=(StoredSlate(5, 1, ("a", "b")), StoredSlate(6, 2, ())),
        profile=profile,
        profile_ms=1_234,
        blocked={"horror": (9, 4)},
    )

    await store.commit(at(1, users=[UserChange(stored, events(1))]))

    (found,) = await store.users(["ünïcode"])
    assert found.user == stored
    assert found.events == tuple(events(1))


async def test_an_event_without_a_value_comes_back_without_one(store: FeatureStore) -> None:
    await store.commit(at(1, users=[change("anna", [(1, 1, "i", 2, math.nan, "e")])]))

    ((time_ms, offset, item_id, kind, value, event_id),) = await history(store, "anna")
    assert (time_ms, offset, item_id, kind, event_id) == (1, 1, "i", 2, "e")
    assert math.isnan(value)


async def test_late_events_come_back_at_their_place_and_ties_in_log_order(store: FeatureStore) -> None:
    late, tied = (500, 9, "late", 3, 1.0, "e9"), (1_000, 10, "tied", 3, 1.0, "e10")

    await store.commit(at(4, users=[change("anna", events(3))]))
    await store.commit(at(10, users=[change("anna", [tied, late])]))

    assert [event[2] for event in await history(store, "anna")] == ["i0", "late", "i1", "tied", "i2"]


async def test_only_the_latest_thousand_events_are_history_but_all_are_kept(store: FeatureStore) -> None:
    await store.commit(at(1_200, users=[change("anna", events(1_200))]))

    assert await history(store, "anna") == events(HISTORY_LIMIT, start=200)
    assert await store.events_of("anna") == events(1_200)


async def test_events_that_may_go_never_take_one_with_them_that_may_not(store: FeatureStore) -> None:
    await store.commit(at(4, users=[change("anna", events(4))]))
    await store.commit(at(5, users=[change("anna", events(1, start=4), keep_from_ms=2_000)]))

    kept = await store.events_of("anna")
    assert [event for event in kept if event[0] >= 2_000] == events(3, start=2)


async def test_events_of_the_past_go_in_the_end(store: FeatureStore) -> None:
    await store.commit(at(4, users=[change("anna", events(4))]))
    await store.commit(at(5, users=[change("anna", events(1, start=4), keep_from_ms=4_000)]))

    assert await store.events_of("anna") == events(1, start=4)


async def test_the_same_changes_twice_are_the_same_as_once(store: FeatureStore) -> None:
    changes = at(
        3,
        users=[change("anna", events(2))],
        items=[StoredItem("i0", ItemStatus.PRESENT, Item("i0"), 1, "w1-0.3", 0, 3, 1)],
        counts=[StoredCounts("i0", (b"p", b"t"))],
        erased_user_ids=["ben"],
    )

    await store.commit(changes)
    await store.commit(changes)

    assert await store.events_of("anna") == events(2)
    assert await store.count_users() == 1
    assert len(await store.all_items()) == 1


async def test_items_come_back_with_content_vectors_and_place(store: FeatureStore) -> None:
    vector = ContentVector("text", "encoder-1", "hash", np.array([0.25, -1.0], np.float32))
    item = Item("i0", title="One", categories=("a", "b"), attributes={"year": 1999.0}, vectors=(vector,), created_ms=3)
    present = StoredItem("i0", ItemStatus.PRESENT, item, 17, "w1-0.4", 0, 4, 19)
    deleted = StoredItem("i1", ItemStatus.DELETED, None, 18, "w1-0.5", 0, 5, 20)

    await store.commit(at(5, items=[present, deleted]))

    found = {stored.item_id: stored for stored in await store.all_items()}
    assert found["i1"] == deleted
    content = found["i0"].item
    assert content is not None
    assert content.vectors[0].values.tolist() == [0.25, -1.0]
    assert (content.title, content.attributes, content.created_ms) == ("One", {"year": 1999.0}, 3)
    assert replace(found["i0"], item=None) == replace(present, item=None)


async def test_counts_are_replaced_and_dropped(store: FeatureStore) -> None:
    await store.commit(at(1, counts=[StoredCounts("i0", (b"1", b"")), StoredCounts("i1", (b"3", b"4"))]))
    await store.commit(at(2, counts=[StoredCounts("i0", (b"5", b"6"))], dropped_item_ids=["i1"]))

    assert await store.all_counts() == [StoredCounts("i0", (b"5", b"6"))]


async def test_an_erased_user_is_gone_and_nobody_else(store: FeatureStore) -> None:
    await store.commit(at(2, users=[change("anna", events(2)), change("ben", events(1))]))

    await store.commit(at(3, erased_user_ids=["anna"]))

    assert [found.user.user_id for found in await store.users(["anna", "ben"])] == ["ben"]
    assert await store.events_of("anna") == []
    assert await store.user_id_of("subject-anna") is None
    assert await store.count_users() == 1


async def test_a_user_who_comes_back_after_an_erasure_begins_anew(store: FeatureStore) -> None:
    await store.commit(at(2, users=[change("anna", events(2))]))

    await store.commit(at(4, erased_user_ids=["anna"], users=[UserChange(user("anna", "new"), events(1, start=7))]))

    assert await history(store, "anna") == events(1, start=7)
    assert await store.user_id_of("new") == "anna"
    assert await store.user_id_of("subject-anna") is None


async def test_a_user_is_found_by_the_present_pseudonym(store: FeatureStore) -> None:
    await store.commit(at(1, users=[change("anna", [])]))
    await store.commit(at(2, users=[UserChange(user("anna", "later"), [])]))

    assert await store.user_id_of("later") == "anna"
    assert await store.user_id_of("subject-anna") is None


async def test_all_users_come_in_the_order_of_their_ids(store: FeatureStore) -> None:
    names = [f"u{number}" for number in range(1_100)] + ["", "ä", "Z"]
    await store.commit(at(1, users=[change(name, []) for name in names if name]))

    assert [found.user.user_id async for found in store.all_users()] == sorted(filter(None, names))


async def test_all_users_come_with_their_latest_events_or_with_all_of_them(store: FeatureStore) -> None:
    many, few = events(1_200), events(3)
    await store.commit(at(1, users=[change("anna", many), change("ben", [])]))
    await store.commit(at(2, users=[change("cleo", few)]))

    latest = {found.user.user_id: list(found.events) async for found in store.all_users()}
    whole = {found.user.user_id: list(found.events) async for found in store.all_users(whole=True)}

    assert latest == {"anna": many[-HISTORY_LIMIT:], "ben": [], "cleo": few}
    assert whole == {"anna": many, "ben": [], "cleo": few}


async def test_the_page_token_key_stays_the_same(store: FeatureStore) -> None:
    key = await store.page_token_key()

    await store.commit(at(1))

    assert len(key) == 32
    assert await store.page_token_key() == key


async def test_a_cleared_store_is_as_a_new_one(store: FeatureStore) -> None:
    await store.commit(at(3, users=[change("anna", events(2))], counts=[StoredCounts("i0", (b"p", b"t"))]))

    await store.clear()

    assert await store.position() == Watermark()
    assert await store.users(["anna"]) == []
    assert await store.events_of("anna") == []
    assert await store.all_counts() == []


async def test_after_a_scrub_none_is_needed(store: FeatureStore) -> None:
    await store.commit(at(1, users=[change("anna", events(2))]))
    await store.commit(at(2, erased_user_ids=["anna"]))

    await store.scrub()

    assert not await store.needs_scrub()
    assert await store.position() == Watermark.of(2)


async def test_what_has_fallen_out_is_kept_until_the_store_is_cleared(store: FeatureStore) -> None:
    expiry = Expiry(events_before_ms=1_000, slates_before_ms=2_000)
    before = await store.expiry()
    await store.commit(at(1, expiry=expiry))
    await store.commit(at(2))
    kept = await store.expiry()

    await store.clear()

    assert (before, kept, await store.expiry()) == (Expiry(), expiry, Expiry())


async def test_a_user_who_is_erased_and_written_in_one_commit_has_the_events_of_that_commit_only(
    store: FeatureStore,
) -> None:
    await store.commit(at(1, users=[UserChange(user("anna"), events(20)), UserChange(user("ben"), events(3))]))

    rewritten = UserChange(user("anna"), events(5, start=15))
    await store.commit(at(1, users=[rewritten], erased_user_ids=("anna",)))

    assert await store.events_of("anna") == events(5, start=15)
    assert [found.user.user_id for found in await store.users(["anna", "ben"])] == ["anna", "ben"]
    assert await store.user_id_of("subject-anna") == "anna"
