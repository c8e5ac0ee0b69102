"""Fresh items as a source."""

from __future__ import annotations

from services.candidate_generation.sources.fresh import FreshSource
from shared.domain.conditions import ItemFilter
from shared.domain.items import Item, User
from tests.unit.candidate_generation.rooms import NOW_MS, Room, asked, history_of, parts_of

DAY_MS = 86_400_000
OLD = [Item(f"old{number}", categories=("Horror", "Comedy")[number % 2 :][:1]) for number in range(6)]
NEW = [Item("new-horror", categories=("Horror",)), Item("new-comedy", categories=("Comedy",))]


def _young(count: int) -> list[Item]:
    return [Item(f"y{number}", created_ms=NOW_MS - number) for number in range(count)]


async def test_with_a_bundle_only_what_it_does_not_know_is_fresh_and_content_decides() -> None:
    room = Room(*OLD, *NEW)
    await room.load(parts_of(OLD))

    answer = await FreshSource(DAY_MS).search(room.query(asked(history_of("old0", "old2"))), 5)

    assert room.ids(answer) == ["new-horror", "new-comedy"]
    assert answer.scores[0] > answer.scores[1]


async def test_with_a_bundle_that_knows_everything_nothing_is_fresh() -> None:
    room = Room(*OLD)
    await room.load(parts_of(OLD))

    answer = await FreshSource(DAY_MS).search(room.query(asked()), 5)

    assert room.ids(answer) == []


async def test_without_a_bundle_the_items_of_the_last_days_are_fresh() -> None:
    room = Room(*_young(3), Item("ancient", created_ms=NOW_MS - 2 * DAY_MS))

    answer = await FreshSource(DAY_MS).search(room.query(asked()), 5)

    assert sorted(room.ids(answer)) == ["y0", "y1", "y2"]


async def test_the_same_request_gets_the_same_draw() -> None:
    room = Room(*_young(50))
    source = FreshSource(DAY_MS)

    first = await source.search(room.query(asked(user=User("u"))), 10)
    again = await source.search(room.query(asked(user=User("u"))), 10)

    assert room.ids(first) == room.ids(again)


async def test_over_users_every_fresh_item_gets_its_chance() -> None:
    room = Room(*_young(50))
    source = FreshSource(DAY_MS)

    shown: set[str] = set()
    for number in range(60):
        shown |= set(room.ids(await source.search(room.query(asked(user=User(f"u{number}"))), 10)))

    assert len(shown) == 50


async def test_filters_hold_for_fresh_items() -> None:
    room = Room(*OLD, *NEW)
    await room.load(parts_of(OLD))
    wanted = ItemFilter(exclude_categories=frozenset({"Comedy"}))

    answer = await FreshSource(DAY_MS).search(room.query(asked(filter=wanted)), 5)

    assert room.ids(answer) == ["new-horror"]
