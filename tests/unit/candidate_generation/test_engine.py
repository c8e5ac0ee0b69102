"""A bundle in step with the catalogue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.candidate_generation.engine import Engine, EngineParts, Threads
from shared.domain.conditions import ItemFilter
from shared.domain.items import Item, User
from tests.unit.candidate_generation.rooms import (
    CategoryTowers,
    Floats,
    Room,
    asked,
    history_of,
    inline_threads,
    parts_of,
)

KNOWN = [Item(f"k{number}", categories=("ab"[number % 2],)) for number in range(4)]


def _towers(parts: EngineParts) -> CategoryTowers:
    assert isinstance(parts.towers, CategoryTowers)
    return parts.towers


async def _nearest(room: Room, engine: Engine, history: str, wanted: ItemFilter | None = None) -> list[str]:
    query = room.query(asked(history_of(history), filter=wanted or ItemFilter()))
    vector = await engine.user_vector(query.request.history, room.catalogue)
    slots, _ = (await engine.nearest(vector, 100, query.eligible))[0]
    return list(room.catalogue.item_ids(slots))


async def test_items_of_the_bundle_are_not_encoded_again() -> None:
    room, parts = Room(*KNOWN), parts_of(KNOWN)

    await room.load(parts)

    assert _towers(parts).encoded == []


async def test_a_new_item_can_be_found_after_following_the_catalogue() -> None:
    room, parts = Room(*KNOWN), parts_of(KNOWN)
    engine = await room.load(parts)
    room.upsert(Item("new", categories=("a",)))

    behind = engine.behind(room.catalogue)
    await engine.follow(room.catalogue)

    assert behind
    assert not engine.behind(room.catalogue)
    assert "new" in await _nearest(room, engine, "k0")
    assert _towers(parts).encoded == ["new"]


async def test_changed_content_moves_an_item_and_unchanged_content_leaves_it_in_the_trees() -> None:
    room, parts = Room(*KNOWN), parts_of(KNOWN)
    engine = await room.load(parts)
    room.upsert(replace(KNOWN[0], title="only the title is new"), replace(KNOWN[1], categories=("a",)))

    await engine.follow(room.catalogue)

    assert parts.index.slots(["k0", "k1"]).tolist() == [0, 4]
    assert set((await _nearest(room, engine, "k2"))[:3]) == {"k0", "k1", "k2"}


async def test_content_newer_than_the_bundle_is_noticed_when_the_bundle_is_loaded() -> None:
    room = Room(KNOWN[0])
    room.upsert(replace(KNOWN[1], categories=("a",)), watermark="w1-0.11")
    room.upsert(KNOWN[2], watermark="w1-0.12")
    room.upsert(KNOWN[3], watermark="w1-0.10")
    parts = parts_of(KNOWN, watermark="w1-0.10")

    await room.load(parts)

    assert _towers(parts).encoded == ["k1", "k2"]
    assert parts.index.slots(["k0", "k1", "k2", "k3"]).tolist() == [0, 4, 2, 3]


async def test_a_deleted_item_is_gone_and_may_come_back() -> None:
    room = Room(*KNOWN)
    engine = await room.load(parts_of(KNOWN))
    room.delete("k0")
    await engine.follow(room.catalogue)
    gone = await _nearest(room, engine, "k2")

    room.upsert(KNOWN[0])
    await engine.follow(room.catalogue)

    assert "k0" not in gone
    assert "k0" in await _nearest(room, engine, "k2")


async def test_a_deletion_hides_an_item_even_before_the_index_follows() -> None:
    room = Room(*KNOWN)
    engine = await room.load(parts_of(KNOWN))

    room.delete("k0")

    assert "k0" not in await _nearest(room, engine, "k2")


async def test_an_item_deleted_while_it_is_encoded_stays_deleted() -> None:
    room, parts = Room(*KNOWN), parts_of(KNOWN)

    class DeletingTowers(CategoryTowers):
        def item_vectors(self, items: Sequence[Item]) -> Floats:
            room.delete("new")
            return super().item_vectors(items)

    engine = await room.load(replace(parts, towers=DeletingTowers(_towers(parts).known)))
    room.upsert(Item("new", categories=("a",)))
    while engine.behind(room.catalogue):
        await engine.follow(room.catalogue)

    assert parts.index.slots(["new"]).tolist() == [-1]
    assert "new" not in await _nearest(room, engine, "k0")


@given(st.lists(st.tuples(st.sampled_from(["up", "down"]), st.integers(0, 7), st.sampled_from("ab")), max_size=25))
def test_whatever_comes_and_goes_exactly_the_living_can_be_found(changes: list[tuple[str, int, str]]) -> None:
    async def play() -> None:
        room = Room(*KNOWN)
        engine = await room.load(parts_of(KNOWN))
        living = {item.item_id for item in KNOWN}
        for number, (kind, which, category) in enumerate(changes):
            item_id = f"k{which}"
            if kind == "up":
                room.upsert(Item(item_id, categories=(category,)))
                living.add(item_id)
            else:
                room.delete(item_id)
                living.discard(item_id)
            if number % 3 == 0:
                await engine.follow(room.catalogue)
        await engine.follow(room.catalogue)

        found = await _nearest(room, engine, "k0")
        without = await _nearest(room, engine, "k0", ItemFilter(exclude_item_ids=frozenset({"k0", "k5"})))
        assert sorted(found) == sorted(living)
        assert sorted(without) == sorted(living - {"k0", "k5"})

    asyncio.run(play())


def test_the_index_version_says_what_kind_of_search_answers() -> None:
    annoy = Engine(parts_of(KNOWN, version="20240101T000000000-0000000a"), inline_threads())
    exact = Engine(parts_of(KNOWN, version="20240101T000000000-0000000a", exact=True), inline_threads())

    assert annoy.index_version == "20240101T000000000-0000000a/annoy"
    assert exact.index_version == "20240101T000000000-0000000a/exact"


def test_two_bundles_do_not_share_masks() -> None:
    async def play() -> tuple[list[str], list[str]]:
        room = Room(*KNOWN)
        first = await room.load(parts_of(KNOWN))
        second = Engine(parts_of(KNOWN[::-1]), Threads(ThreadPoolExecutor(1), ThreadPoolExecutor(1)))
        await second.follow(room.catalogue)
        wanted = ItemFilter(include_categories=frozenset("a"))
        return await _nearest(room, first, "k0", wanted), await _nearest(room, second, "k0", wanted)

    found, found_by_second = asyncio.run(play())
    assert sorted(found) == sorted(found_by_second) == ["k0", "k2"]


async def test_a_history_that_comes_again_is_not_computed_again() -> None:
    room, parts = Room(*KNOWN), parts_of(KNOWN)
    engine = await room.load(parts)

    first = await engine.user_vector(history_of("k0", "k1"), room.catalogue)
    again = await engine.user_vector(history_of("k0", "k1"), room.catalogue)
    other = await engine.user_vector(history_of("k1", "k0"), room.catalogue)

    await engine.user_vector(history_of("k0", "k1"), room.catalogue, User("u", ("jazz",)))

    assert len(_towers(parts).users) == 3
    assert first.tolist() == again.tolist()
    assert np.allclose(first, other), "this tower takes a mean: of the other order, too"


async def test_a_history_with_an_item_that_is_newer_than_the_bundle_is_computed_each_time() -> None:
    room, parts = Room(*KNOWN, Item("new", categories=("a",))), parts_of(KNOWN)
    engine = await room.load(parts)

    first = await engine.user_vector(history_of("k1", "new"), room.catalogue)
    room.upsert(Item("new", categories=("b",)))
    second = await engine.user_vector(history_of("k1", "new"), room.catalogue)

    assert first.tolist() != second.tolist()
