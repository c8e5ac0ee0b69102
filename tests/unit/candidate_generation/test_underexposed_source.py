"""Under-exposed items as a source."""

from __future__ import annotations

from services.candidate_generation.sources.fresh import FreshSource
from services.candidate_generation.sources.underexposed import UnderexposedSource
from shared.domain.conditions import ItemFilter
from shared.domain.items import Item, User
from shared.domain.user_state import TopItems, TopOrder
from tests.unit.candidate_generation.rooms import Room, asked, parts_of

ITEMS = [Item(f"item-{number}", categories=("a", "b")[number % 2 :][:1]) for number in range(40)]


async def test_every_new_item_under_the_budget_gets_its_chance_also_one_that_the_bundle_knows() -> None:
    room = Room(*ITEMS)
    await room.load(parts_of(ITEMS))
    source = UnderexposedSource(room.lists, budget=20)

    found: set[str] = set()
    for number in range(60):
        found |= set(room.ids(await source.search(room.query(asked(user=User(f"u{number}"))), 8)))

    assert len(found) == 40


async def test_what_was_consumed_often_is_left_out_whether_its_upsert_or_the_live_list_says_so() -> None:
    room = Room(*ITEMS[:4])
    room.upsert(ITEMS[1], popularity=20.0)
    room.features.top[TopOrder.POPULAR, ""] = TopItems(("item-2", "item-3"), (25.0, 19.0))
    await room.lists.refresh()

    answer = await UnderexposedSource(room.lists, budget=20).search(room.query(asked()), 10)

    assert sorted(room.ids(answer)) == ["item-0", "item-3"]


async def test_the_same_request_gets_the_same_draw_within_the_quota() -> None:
    room = Room(*ITEMS)
    source = UnderexposedSource(room.lists, budget=20)

    first = await source.search(room.query(asked(user=User("u"))), 5)
    again = await source.search(room.query(asked(user=User("u"))), 5)

    assert room.ids(first) == room.ids(again)
    assert len(room.ids(first)) == 5


async def test_filters_hold_for_under_exposed_items() -> None:
    room = Room(*ITEMS)
    wanted = ItemFilter(exclude_categories=frozenset({"a"}))

    answer = await UnderexposedSource(room.lists, budget=20).search(room.query(asked(filter=wanted)), 40)

    assert len(room.ids(answer)) == 20
    assert all(int(name.removeprefix("item-")) % 2 for name in room.ids(answer))


async def test_fresh_and_under_exposed_items_are_drawn_apart() -> None:
    room = Room(*ITEMS)
    query = room.query(asked(user=User("u")))

    fresh = room.ids(await FreshSource(window_ms=10**15).search(query, 20))
    underexposed = room.ids(await UnderexposedSource(room.lists, budget=20).search(query, 20))

    assert len(fresh) == len(underexposed) == 20
    assert fresh != underexposed


async def test_newcomers_with_seeds_of_their_own_share_no_draw() -> None:
    room = Room(*ITEMS)
    source = UnderexposedSource(room.lists, budget=20)

    draws = [room.ids(await source.search(room.query(asked(seed=seed)), 5)) for seed in range(1, 101)]
    again = room.ids(await source.search(room.query(asked(seed=7)), 5))

    assert len(set(map(tuple, draws))) == 100
    assert len({item_id for draw in draws for item_id in draw}) == 40, "everybody had a chance"
    assert again == draws[6]
