"""Whatever the batches, stored positions and crashes on the way: the state is that of one clean pass over the log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.feature import decayed_counts, memory_store, redis_store, sqlite_store, user_entry
from services.feature.features import ProjectedFeatures
from services.feature.memory_store import MemoryFeatureStore
from services.feature.paging import PageTokens
from services.feature.store import FeatureStore
from services.feature.user_view import Lifetimes
from shared.domain.event_log import Fact, ItemDeletion
from shared.domain.events import Event, EventType
from shared.domain.items import Item, User
from shared.domain.user_state import TopOrder, UserState
from shared.domain.watermark import Watermark
from tests.fakes import MemoryLog
from tests.unit.feature.conftest import Stores
from tests.unit.feature.world import NOW_MS, Room, clock, event, slate

USERS = ("anna", "ben")
ITEMS = ("i0", "i1", "i2")
KINDS = (EventType.CLICK, EventType.DISLIKE, EventType.IMPRESSION, EventType.HIDE, EventType.FOLLOW, EventType.RATING)


@dataclass(frozen=True)
class Erase:
    """The user is erased."""

    user_id: str


@dataclass(frozen=True)
class Apply:
    """The service reads this many records."""

    records: int


@dataclass(frozen=True)
class Store:
    """The service stores what it applied."""


@dataclass(frozen=True)
class Read:
    """Somebody asks for the user, which may push others out of memory."""

    user_id: str


@dataclass(frozen=True)
class Crash:
    """The service is killed and started again."""


Step = Fact | Erase | Apply | Store | Read | Crash

some_users, some_items = st.sampled_from(USERS), st.sampled_from(ITEMS)


def times(days: int) -> st.SearchStrategy[int]:
    """Moments of the past in steps of half a day, in any order."""
    return st.integers(0, 2 * days).map(lambda half_days: NOW_MS - half_days * 43_200_000)


def events(days: int) -> st.SearchStrategy[Event]:
    """Events of few users about few items, so that they meet."""
    facts = st.tuples(some_users, some_items, st.sampled_from(KINDS), times(days))
    return facts.map(lambda fact: event(fact[0], fact[1], fact[2], at_ms=fact[3]))


def other_facts(days: int) -> st.SearchStrategy[Fact]:
    """Facts of every other kind."""
    return st.one_of(
        st.builds(lambda user, items, at: slate(user, items, at_ms=at), some_users, st.lists(some_items), times(days)),
        st.builds(lambda item, name: Item(item, categories=(name,)), some_items, st.sampled_from("xyz")),
        st.builds(ItemDeletion, some_items),
        st.builds(lambda user, tag: User(user, (tag,)), some_users, st.sampled_from("xyz")),
    )


def steps(days: int, *, erasing: bool) -> st.SearchStrategy[list[Step]]:
    """A story of a log and of the service that reads it: long, because short ones prove little."""
    reads = st.builds(Read, some_users)
    service = st.one_of(st.builds(Apply, st.integers(1, 12)), st.builds(Store), reads, st.builds(Crash))
    erasures = [st.builds(Erase, some_users)] if erasing else []
    return st.lists(st.one_of(events(days), other_facts(days), service, *erasures), min_size=30, max_size=60)


@contextmanager
def replaced(*constants: tuple[ModuleType, str, int]) -> Iterator[None]:
    """Small limits, so that short stories reach them."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in constants:
            patch.setattr(module, name, value)
        yield


def short_histories(slates: int = 2) -> AbstractContextManager[None]:
    modules = (user_entry, memory_store, sqlite_store, redis_store)
    return replaced(*((module, "HISTORY_LIMIT", 4) for module in modules), (user_entry, "SLATE_LIMIT", slates))


async def answers(room: Room) -> list[str]:
    """The canonical dump, and everything that readers can ask for."""
    text = (await room.dump()).decode()
    features = ProjectedFeatures(room.projection, PageTokens(b"key"), clock, Lifetimes(served_ms=10**12))
    users = [await features.user_state(user, Watermark(), history_limit=9, budget_ms=0) for user in USERS]
    lists = [await features.top_items(order) for order in TopOrder]
    return [text, repr([_plain(user) for user in users]), repr(await features.items(ITEMS)), repr(lists)]


def _plain(user: UserState) -> object:
    """The state with its sets in order."""
    affinities = sorted(user.category_affinities.items())
    return sorted(user.consumed_item_ids), affinities, user.history, user.served_item_ids, user.followed_ids


async def live(story: Sequence[Step], log: MemoryLog, store: FeatureStore) -> list[str]:
    """Follow the story, catch up at its end; what is answered then, and again after a restart."""
    room = await Room.open(store, cached_events=3)
    for step in story:
        match step:
            case Erase(user_id):
                await log.erase(user_id)
            case Apply(records):
                start = room.projection.progress.applied.offset()
                await room.take(log.records[start : start + records])
            case Store():
                await room.writer.flush()
            case Read(user_id):
                await room.projection.users.find(user_id)
            case Crash():
                room = await room.reopen()
            case fact:
                await log.append([fact])
    await room.take(log.records[room.projection.progress.applied.offset() :])
    before = await answers(room)
    return before + await answers(await room.reopen())


async def clean(log: MemoryLog) -> list[str]:
    """One pass over the log as it is in the end."""
    room = await Room.open(MemoryFeatureStore())
    await room.take(log.records)
    return 2 * await answers(room)


async def both(story: Sequence[Step], stores: Stores) -> tuple[list[str], list[str]]:
    log = MemoryLog(clock)
    async with stores.opened() as store:
        return await live(story, log, store), await clean(log)


@given(story=steps(30, erasing=True))
def test_any_interleaving_of_batches_crashes_and_erasures_gives_the_state_of_one_clean_pass(
    stores: Stores, story: list[Step]
) -> None:
    with short_histories(slates=60):  # all: exposures of an erased user's earlier slates would stay counted
        ours, replayed = asyncio.run(both(story, stores))

    assert ours == replayed


@given(story=steps(400, erasing=False))
def test_events_that_are_too_old_to_count_are_left_out_the_same_way_on_every_path(
    stores: Stores, story: list[Step]
) -> None:
    windows = replaced((decayed_counts, "EVALUATED_BUCKETS", 3), (decayed_counts, "HELD_BUCKETS", 4))
    with short_histories(), windows:
        ours, replayed = asyncio.run(both(story, stores))

    assert ours == replayed


@given(story=st.lists(events(20), min_size=10, max_size=40), data=st.data())
def test_the_order_of_arrival_changes_no_history_and_no_count(story: list[Event], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(story))

    async def histories(order: Sequence[Fact]) -> tuple[object, object]:
        log, room = MemoryLog(clock), await Room.open(MemoryFeatureStore())
        await log.append(order)
        await room.take(log.records)
        entries = [await room.projection.users.find(user) for user in USERS]
        kept = [[(time, *rest) for time, _, *rest in entry.history] for entry in entries if entry]
        return [sorted(history, key=repr) for history in kept], room.projection.catalogue.states(ITEMS)

    assert repr(asyncio.run(histories(story))) == repr(asyncio.run(histories(shuffled)))
