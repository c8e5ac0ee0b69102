"""The feature store in Redis, for a service that outgrew its machine's disk or that moves between machines.

A commit is one transaction (MULTI) of rows, log position and its own number: the server takes all of it or nothing.
What the server loses all the same (`appendfsync everysec` may lose a second) is applied from the log again, because the
position goes with it; see `redis_tenure` for how that is noticed. One thread writes and one reads.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final, TypeVar

from services.feature import redis_rows as rows
from services.feature.redis_connection import REDIS_ERRORS, Client, RedisPlace, open_client, store_error
from services.feature.redis_files import rewrite_files
from services.feature.redis_rows import Commands, Keys
from services.feature.redis_tenure import Tenure
from services.feature.rows import expiry_from_text, expiry_to_text, windows_from_bytes
from services.feature.store import Changes, StoredCounts, StoredEvent, StoredItem, StoreMovedError, UserHistory
from shared.domain.expiry import Expiry
from shared.domain.history import HISTORY_LIMIT
from shared.domain.watermark import Watermark
from shared.kernel.config import ConfigError
from shared.kernel.errors import ServiceError

PAGE_USERS: Final = 500
"""Users that `all_users` reads at a time."""
SCAN_FIELDS: Final = 2_000

Answer = TypeVar("Answer")


@asynccontextmanager
async def open_redis_store(place: RedisPlace) -> AsyncIterator[RedisFeatureStore]:
    """Take the namespace over, and make it when it is new.

    Raises:
        ConfigError: the server cannot be used; the message says why.
    """
    with _Threads() as threads:
        client = await asyncio.get_running_loop().run_in_executor(threads.writing, open_client, place)
        store = RedisFeatureStore(place, client, threads)
        try:
            await _owned_at_start(store)
            yield store
        finally:
            await asyncio.get_running_loop().run_in_executor(threads.writing, client.close)


async def _owned_at_start(store: RedisFeatureStore) -> None:
    try:
        await store.resume()
    except ServiceError as error:  # a replica, say, or rights that do not suffice
        raise ConfigError(f"{error.message}; check WINNOW_FEATURE_REDIS_URL") from error


class _Threads(ExitStack):
    """One thread writes, one reads, and one waits for the server's files: nobody waits for another's work."""

    def __init__(self) -> None:
        super().__init__()
        self.writing, self.reading, self.scrubbing = (
            self.enter_context(ThreadPoolExecutor(1, f"feature-{name}")) for name in ("write", "read", "scrub")
        )


class RedisFeatureStore:
    """`FeatureStore` in Redis; opened by `open_redis_store`."""

    def __init__(self, place: RedisPlace, client: Client, threads: _Threads) -> None:
        self.place = place
        self.keys = Keys.of(place.namespace)
        self.moved = asyncio.Event()
        self._client = client
        self._threads = threads
        self._tenure = Tenure(place.shown, 0, b"")

    async def resume(self) -> None:
        """Own the store from now on, as it is."""
        await self._run(self._threads.writing, self._claim)
        self.moved.clear()

    async def position(self) -> Watermark:
        """The position of the last commit."""
        (found,) = await self._read(lambda ask: ask.hget(self.keys.state, "position"))
        return Watermark.parse((found or b"").decode())

    async def expiry(self) -> Expiry:
        """What retention had taken out at the last commit."""
        (found,) = await self._read(lambda ask: ask.hget(self.keys.state, "expiry"))
        return expiry_from_text(found or b"")

    async def commit(self, changes: Changes) -> None:
        """Write rows and position in one transaction."""
        await self._run(self._threads.writing, lambda: self._commit(changes))

    async def scrub(self) -> None:
        """Let the server write its files anew from what it holds. Replicas have files of their own."""
        await self._run(self._threads.scrubbing, self._scrub)

    async def needs_scrub(self) -> bool:
        """Whether a user was erased since the last `scrub`."""
        (wanted,) = await self._read(lambda ask: ask.hget(self.keys.state, "scrub"))
        return bool(wanted)

    async def users(self, user_ids: Sequence[str]) -> list[UserHistory]:
        """Those of the users that are known, with their latest events."""
        return await self._run(self._threads.reading, lambda: self._users(user_ids)) if user_ids else []

    async def user_id_of(self, subject: str) -> str | None:
        """The user that has this pseudonym."""
        (found,) = await self._read(lambda ask: ask.hget(self.keys.subjects, subject))
        return None if found is None else found.decode()

    async def events_of(self, user_id: str) -> list[StoredEvent]:
        """Every event that is kept of a user."""
        (members,) = await self._read(lambda ask: ask.zrange(self.keys.events_of(user_id), 0, -1))
        return rows.events_from_members(members)

    async def count_users(self) -> int:
        """How many users are kept."""
        (count,) = await self._read(lambda ask: ask.hlen(self.keys.users))
        return int(count)

    async def all_users(self, *, whole: bool = False) -> AsyncIterator[UserHistory]:
        """Every user in the order of ids, a page a round trip."""
        ids = sorted(await self._scan(self.keys.users))
        for start in range(0, len(ids), PAGE_USERS):
            page = partial(self._users, ids[start : start + PAGE_USERS], whole=whole)
            for user in await self._run(self._threads.reading, page):
                yield user

    async def all_items(self) -> list[StoredItem]:
        """Every item with content or a place in the log."""
        found = await self._scan(self.keys.items)
        return [rows.item_from_value(item_id, value) for item_id, value in found.items()]

    async def all_counts(self) -> list[StoredCounts]:
        """The counts of every item about which there are events."""
        found = await self._scan(self.keys.counts)
        return [StoredCounts(item_id, windows_from_bytes(value)) for item_id, value in found.items()]

    async def page_token_key(self) -> bytes:
        """A secret of 32 bytes."""
        (key,) = await self._read(lambda ask: ask.hget(self.keys.state, "page_token_key"))
        return bytes(key)

    async def clear(self) -> None:
        """Forget everything and begin anew."""
        await self._run(self._threads.writing, self._clear)

    async def _run(self, thread: ThreadPoolExecutor, work: Callable[[], Answer]) -> Answer:
        """Do work in a thread; its errors name the server."""
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except StoreMovedError:
            self.moved.set()
            raise
        except REDIS_ERRORS as error:
            raise store_error(self.place, error) from error

    async def _read(self, queue: Callable[[Commands], object]) -> list[Any]:
        return await self._run(self._threads.reading, lambda: self._ask(queue))

    async def _scan(self, key: str) -> dict[str, bytes]:
        """All fields of a hash that nobody changes meanwhile."""
        await self.position()
        return await self._run(
            self._threads.reading, lambda: rows.decoded(self._client.hscan_iter(key, count=SCAN_FIELDS))
        )

    def _ask(self, queue: Callable[[Commands], object]) -> list[Any]:
        """Answers of one moment, of a store that is as we left it.

        No transaction: a server that is full refuses those, even if they only read.
        """
        while True:
            tenure = self._tenure
            settled = tenure.settled
            with self._client.pipeline(transaction=False) as ask:
                ask.hmget(self.keys.state, "generation", "commit")
                queue(ask)
                ask.hmget(self.keys.state, "generation", "commit")
                answers: list[Any] = ask.execute()
            if tenure is not self._tenure:  # the store was claimed anew meanwhile
                continue
            generation, commit = answers[-1]
            tenure.check(generation, commit, settled)
            if answers[0] == answers[-1]:  # else our own commit came between
                return answers[1:-1]

    def _users(self, user_ids: Sequence[str], *, whole: bool = False) -> list[UserHistory]:
        def queue(ask: Commands) -> None:
            ask.hmget(self.keys.users, user_ids)
            ask.hmget(self.keys.facts, user_ids)
            for user_id in user_ids:
                ask.zrange(self.keys.events_of(user_id), 0, -1)

        subjects, facts, *events = self._ask(queue)
        return [
            UserHistory(
                rows.user_from_value(user_id, subject, value),
                tuple(rows.events_from_members(members)[0 if whole else -HISTORY_LIMIT :]),
            )
            for user_id, subject, value, members in zip(user_ids, subjects, facts, events, strict=True)
            if value is not None
        ]

    def _commit(self, changes: Changes) -> None:
        keys, number = self.keys, self._tenure.begin(changes)
        with self._owned() as (commands, last):
            if last != number:  # else an earlier attempt was taken, and its answer lost
                subjects = self._subjects(commands, changes)
                commands.multi()
                rows.write(commands, keys, changes, subjects)
                scrub = {"scrub": number} if changes.erased_user_ids else {}
                expiry = {"expiry": expiry_to_text(changes.expiry)} if changes.expiry else {}
                position = {"position": str(changes.position), "commit": number}
                commands.hset(keys.state, mapping=position | scrub | expiry)
                commands.execute()
        self._tenure.settle(number)

    def _subjects(self, commands: Commands, changes: Changes) -> dict[str, str]:
        """Pseudonyms that the store has of the users that change."""
        named = {*changes.erased_user_ids, *(change.user.user_id for change in changes.users)}
        if not named:
            return {}
        ids = list(named)
        found = zip(ids, commands.hmget(self.keys.users, ids), strict=True)
        return {user_id: subject.decode() for user_id, subject in found if subject is not None}

    @contextmanager
    def _owned(self) -> Iterator[tuple[Commands, bytes | None]]:
        """A pipeline whose transaction fails when anybody else writes; with the number of the last commit."""
        with self._client.pipeline(transaction=True) as commands:
            commands.watch(self.keys.state)
            generation, commit = commands.hmget(self.keys.state, "generation", "commit")
            self._tenure.check(generation, commit, self._tenure.settled)
            yield commands, commit

    def _claim(self) -> None:
        keys = self.keys
        with self._client.pipeline(transaction=True) as commands:
            commands.watch(keys.state)
            version, found, commit = commands.hmget(keys.state, "version", "generation", "commit")
            generation = max(int(found or 0), self._tenure.generation) + 1
            commands.multi()
            commands.hset(keys.state, mapping={"generation": generation, "commit": commit or b""})
            commands.execute()
        self._tenure = Tenure(self.place.shown, generation, commit or b"")
        if version != rows.VERSION:
            self._clear()

    def _clear(self) -> None:
        """Whoever opens a store without a version, because this was interrupted, clears it again."""
        keys, number = self.keys, self._tenure.begin(None)
        with self._owned() as (commands, _):
            commands.multi()
            commands.hdel(keys.state, "version")
            commands.execute()
        ids = list(rows.decoded(self._client.hscan_iter(keys.users, count=SCAN_FIELDS)))
        for user_id in ids:
            self._client.unlink(keys.events_of(user_id))
        with self._owned() as (commands, _):
            commands.multi()
            commands.unlink(*keys.tables)
            fresh = {"version": rows.VERSION, "position": b"", "expiry": b"", "page_token_key": secrets.token_bytes(32)}
            commands.hset(keys.state, mapping={**fresh, "commit": number, "scrub": number if ids else b""})
            commands.execute()
        self._tenure.settle(number)

    def _scrub(self) -> None:
        """Erasures that come meanwhile want a scrub of their own."""
        (wanted,) = self._ask(lambda ask: ask.hget(self.keys.state, "scrub"))
        rewrite_files(self._client, self.keys.state)
        with self._owned() as (commands, _):
            if commands.hget(self.keys.state, "scrub") == wanted:
                commands.multi()
                commands.hset(self.keys.state, "scrub", b"")
                commands.execute()
