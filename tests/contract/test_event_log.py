"""What every `EventLog` does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from shared.domain.event_log import Erasure, EventLog, Fact, ItemDeletion, LogBatch
from shared.domain.events import Event
from shared.domain.items import Item, User
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from tests.contract.event_log_adapters import (
    ALL,
    NOW_MS,
    as_bytes,
    batches,
    event,
    events_of,
    records,
    slate,
)


@pytest.fixture(params=ALL)
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[EventLog]:
    async with ALL[request.param](tmp_path) as opened:
        yield opened


FACTS: list[Fact] = [
    event(1),
    event(2, event_type=4_000, value=2.5, target_id="bob"),
    slate("r-1"),
    slate("r-2", user_id=""),
    Item("item-1", title="A title", attributes={"year": 1999.0}),
    ItemDeletion("item-1"),
    User("ada", ("jazz",), {"premium": True}),
]


async def test_facts_of_every_kind_come_back_as_they_went_in(log: EventLog) -> None:
    await log.append(FACTS)

    assert as_bytes(record.fact for record in await records(log)) == as_bytes(FACTS)


async def test_records_tell_when_they_were_appended(log: EventLog) -> None:
    await log.append(FACTS)

    assert {record.recorded_ms for record in await records(log)} == {NOW_MS}


async def test_a_new_log_is_empty(log: EventLog) -> None:
    assert await records(log) == []
    assert await log.head() == Watermark()


async def test_appending_nothing_gives_the_present_position(log: EventLog) -> None:
    await log.append([event(1)])

    assert await log.append([]) == await log.head()


async def test_a_users_facts_keep_the_order_in_which_they_were_appended(log: EventLog) -> None:
    everybody = [event(number, user_id=f"user-{number % 7}") for number in range(200)]
    for start in range(0, 200, 9):
        await log.append(everybody[start : start + 9])

    for user in range(7):
        assert await events_of(log, f"user-{user}") == everybody[user::7]


async def test_every_record_of_concurrent_writers_is_there_once(log: EventLog) -> None:
    written = [[event(100 * writer + number, f"user-{writer}") for number in range(20)] for writer in range(30)]

    await asyncio.gather(*(log.append(batch) for batch in written))

    for writer, batch in enumerate(written):
        assert await events_of(log, f"user-{writer}") == batch
    assert len(await records(log)) == 600


async def test_a_repeated_event_is_success_and_not_a_second_record(log: EventLog) -> None:
    await log.append([event(1), event(2)])

    await log.append([event(2), event(3), event(3), event(1)])

    assert await events_of(log, "ada") == [event(1), event(2), event(3)]


async def test_an_event_is_known_by_its_id_alone(log: EventLog) -> None:
    await log.append([event(1)])

    await log.append([event(1, user_id="bob", item_id="another")])

    assert [record.fact for record in await records(log)] == [event(1)]


async def test_concurrent_repeats_leave_one_record(log: EventLog) -> None:
    await asyncio.gather(*(log.append([event(number) for number in range(5)]) for _ in range(20)))

    assert await events_of(log, "ada") == [event(number) for number in range(5)]


async def test_the_position_of_a_repeat_includes_the_first_one(log: EventLog) -> None:
    first = await log.append([event(1)])
    await log.append([event(2)])

    assert (await log.append([event(1)])).covers(first)


async def test_a_repeated_slate_is_left_out_and_its_next_page_is_kept(log: EventLog) -> None:
    await log.append([slate("r-1"), slate("r-1"), slate("r-1", first_position=10)])
    await log.append([slate("r-1")])

    found = [record.fact for record in await records(log)]
    assert sorted(fact.first_position for fact in found if isinstance(fact, ServedSlate)) == [0, 10]


async def test_catalogue_facts_are_kept_as_often_as_they_come(log: EventLog) -> None:
    await log.append([Item("x"), Item("x"), ItemDeletion("x"), ItemDeletion("x"), User("ada"), User("ada")])

    assert len(await records(log)) == 6


async def test_positions_only_grow(log: EventLog) -> None:
    positions = [await log.append([event(number, user_id=f"user-{number}")]) for number in range(20)]

    assert all(later.covers(earlier) for earlier, later in itertools.pairwise(positions))
    assert len(set(positions)) == 20
    assert (await log.head()).covers(positions[-1])


async def test_a_reader_goes_on_behind_any_batch(log: EventLog) -> None:
    await log.append([event(number, user_id=f"user-{number % 5}") for number in range(40)])
    everything = await records(log)

    for batch in await batches(log, batch_size=7):
        before = [record for record in everything if batch.watermark.covers(record.watermark)]
        after = await records(log, batch.watermark)
        assert len(before) + len(after) == 40
        assert as_bytes(record.fact for record in before + after) == as_bytes(record.fact for record in everything)


async def test_batches_are_no_larger_than_asked_and_the_last_one_reaches_the_head(log: EventLog) -> None:
    await log.append([event(number) for number in range(20)])

    found = await batches(log, batch_size=6)

    assert max(len(batch.records) for batch in found) <= 6
    assert found[-1].watermark == found[-1].head == await log.head()


async def test_a_batch_ends_where_its_last_records_end(log: EventLog) -> None:
    await log.append([event(number, user_id=f"user-{number % 3}") for number in range(30)])

    for batch in await batches(log, batch_size=4):
        assert all(batch.watermark.covers(record.watermark) for record in batch.records)
        assert batch.head.covers(batch.watermark)


async def test_a_reader_that_does_not_follow_ends_at_the_head_that_it_found(log: EventLog) -> None:
    await log.append([event(1), event(2)])

    seen = 0
    async for batch in log.tail(Watermark(), follow=False, batch_size=1):
        seen += len(batch.records)
        await log.append([event(100 + seen)])

    assert seen == 2


async def test_a_follower_of_an_empty_log_is_told_that_it_has_caught_up(log: EventLog) -> None:
    async with aclosing(_follow(log)) as following:
        first = await anext(following)

    assert first.records == ()
    assert first.watermark == first.head


async def test_a_follower_that_has_caught_up_gets_what_comes(log: EventLog) -> None:
    await log.append([event(1)])
    seen: list[Event] = []

    async with aclosing(_follow(log)) as following:
        async for batch in following:
            seen += [record.fact for record in batch.records if isinstance(record.fact, Event)]
            if batch.watermark == batch.head and not batch.records and len(seen) == 1:
                await log.append([event(2), event(3)])
            if len(seen) == 3:
                break

    assert seen == [event(1), event(2), event(3)]


async def test_many_followers_see_the_same(log: EventLog) -> None:
    async def follow(count: int) -> list[Event]:
        seen: list[Event] = []
        async with aclosing(_follow(log)) as following:
            async for batch in following:
                seen += [record.fact for record in batch.records if isinstance(record.fact, Event)]
                if len(seen) == count:
                    break
        return seen

    async def write() -> None:
        for number in range(30):
            await log.append([event(number)])

    first, second, third, _ = await asyncio.gather(follow(30), follow(30), follow(30), write())

    assert first == second == third == [event(number) for number in range(30)]


async def test_the_first_page_of_a_slate_is_found_by_its_id(log: EventLog) -> None:
    await log.append([slate("r-1", first_position=10), slate("r-1"), slate("r-2")])

    found = await log.slate("r-1")

    assert found is not None
    assert (found.recommendation_id, found.first_position) == ("r-1", 0)


async def test_a_slate_that_was_never_served_is_not_found(log: EventLog) -> None:
    await log.append([slate("r-1"), event(1, recommendation_id="r-2")])

    assert await log.slate("r-2") is None


async def test_a_users_records_all_stand_under_one_pseudonym_that_no_other_user_has(log: EventLog) -> None:
    await log.append(
        [event(1), slate("r-1"), User("ada"), event(2, user_id="bob"), Item("x"), slate("r-2", user_id="")]
    )

    subjects: dict[str, set[str]] = {}
    for record in await records(log):
        subjects.setdefault(getattr(record.fact, "user_id", ""), set()).add(record.subject)
    assert {user: len(found) for user, found in subjects.items()} == {"ada": 1, "bob": 1, "": 1}
    assert subjects[""] == {""}
    assert len(subjects["ada"] | subjects["bob"] | {"", "ada", "bob"}) == 5


async def test_everything_about_one_user_can_be_read_oldest_first(log: EventLog) -> None:
    await log.append([event(1), event(2, user_id="bob"), User("ada", ("jazz",))])
    await log.append([slate("r-1"), event(3), slate("r-2", user_id="bob"), Item("x")])

    found = [record.fact async for batch in log.user_records("ada") for record in batch.records]

    kinds = (Event, User, ServedSlate, Event)
    assert all(isinstance(fact, kind) for fact, kind in zip(found, kinds, strict=True))


async def test_nothing_is_held_about_a_user_who_never_came(log: EventLog) -> None:
    await log.append([event(1)])

    assert [record async for batch in log.user_records("nobody") for record in batch.records] == []


async def test_an_erased_users_facts_cannot_be_read_and_all_others_can(log: EventLog) -> None:
    await log.append([event(1), slate("r-1"), User("ada"), event(2, user_id="bob"), Item("x")])

    await log.erase("ada")

    facts = [record.fact for record in await records(log)]
    left = [fact for fact in facts if not isinstance(fact, Erasure)]
    assert as_bytes(left) == as_bytes([event(2, user_id="bob"), Item("x")])
    assert facts.count(None) == 3
    assert await log.slate("r-1") is None
    assert [record async for batch in log.user_records("ada") for record in batch.records if record.fact] == []


async def test_the_receipt_counts_the_records_and_points_at_the_tombstone(log: EventLog) -> None:
    await log.append([event(1), event(2), User("ada"), event(3, user_id="bob")])
    (subject,) = {record.subject for record in await records(log) if getattr(record.fact, "user_id", "") == "ada"}

    receipt = await log.erase("ada")

    assert receipt is not None
    assert (receipt.records, receipt.erased_ms) == (3, NOW_MS)
    (tombstone,) = [record for record in await records(log) if isinstance(record.fact, Erasure)]
    assert tombstone.subject == subject
    assert receipt.watermark.covers(tombstone.watermark)
    assert tombstone.fact == Erasure(NOW_MS)


async def test_erasing_a_user_who_never_came_writes_nothing(log: EventLog) -> None:
    await log.append([event(1)])

    assert await log.erase("nobody") is None
    assert len(await records(log)) == 1


async def test_a_second_erasure_finds_nobody(log: EventLog) -> None:
    await log.append([event(1)])
    await log.erase("ada")

    assert await log.erase("ada") is None


async def test_late_events_of_an_erased_user_begin_a_new_identity(log: EventLog) -> None:
    await log.append([event(1)])
    await log.erase("ada")

    await log.append([event(2)])

    by_subject: dict[str, list[Fact | None]] = {}
    for record in await records(log):
        by_subject.setdefault(record.subject, []).append(record.fact)
    assert sorted(by_subject.values(), key=len) == [[event(2)], [None, Erasure(NOW_MS)]]
    assert [record.fact async for batch in log.user_records("ada") for record in batch.records] == [event(2)]


async def test_an_erased_event_that_is_sent_again_is_still_a_repeat(log: EventLog) -> None:
    await log.append([event(1)])
    await log.erase("ada")

    await log.append([event(1)])

    assert await events_of(log, "ada") == []


def _follow(log: EventLog) -> AsyncGenerator[LogBatch, None]:
    following = log.tail(Watermark(), follow=True)
    assert isinstance(following, AsyncGenerator)
    return following
