"""Interest tags as a source."""

from __future__ import annotations

from services.candidate_generation.sources.interests import InterestsSource
from shared.domain.items import Item, User
from tests.unit.candidate_generation.rooms import Room, asked, history_of

ITEMS = [
    Item("both", categories=("Jazz",), tags=("Live",)),
    Item("jazz", categories=("Jazz",)),
    Item("jazz-too", categories=("Jazz",)),
    Item("other", categories=("Pop",)),
]


async def test_items_that_carry_more_of_the_interests_come_first() -> None:
    room = Room(*ITEMS)

    answer = await InterestsSource(5).search(room.query(asked(user=User("u", ("jazz", "LIVE", "unknown")))), 10)

    assert room.ids(answer) == ["both", "jazz", "jazz-too"]


async def test_among_equals_the_popular_ones_come_first() -> None:
    room = Room(*ITEMS)
    room.upsert(Item("hit", categories=("Jazz",)), popularity=7.0)

    answer = await InterestsSource(5).search(room.query(asked(user=User("u", ("Jazz",)))), 2)

    assert room.ids(answer)[0] == "hit"


async def test_a_user_with_a_history_or_without_interests_is_not_asked_about() -> None:
    room, source = Room(*ITEMS), InterestsSource(2)

    assert source.applies(room.query(asked(user=User("u", ("Jazz",)))))
    assert not source.applies(room.query(asked(history_of("jazz", "other"), user=User("u", ("Jazz",)))))
    assert not source.applies(room.query(asked(user=User("u"))))
    assert not source.applies(room.query(asked()))
