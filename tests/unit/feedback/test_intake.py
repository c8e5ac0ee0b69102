"""Each fact of a batch is judged for itself; the good ones get in together; erasing and exporting tell the truth."""

from __future__ import annotations

import pytest

from services.feedback.intake import LogIntake
from services.feedback.validation import TimeRules
from shared.domain.events import Event, EventType
from shared.domain.items import Item, User
from shared.domain.watermark import Watermark
from shared.kernel.errors import ErrorReason
from tests.contract.event_log_adapters import NOW_MS, clock, event, slate
from tests.fakes import MemoryLog

SKEW_MS = 600_000


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(clock)


@pytest.fixture
def intake(log: MemoryLog) -> LogIntake:
    return LogIntake(log, clock, TimeRules(SKEW_MS))


def facts(log: MemoryLog) -> list[object]:
    return [record.fact for record in log.records]


async def test_a_bad_event_does_not_stop_the_good_ones(intake: LogIntake, log: MemoryLog) -> None:
    recorded = await intake.record_events([event(1), event(2, item_id=""), event(3)])

    assert set(recorded.refused) == {1}
    assert facts(log) == [event(1), event(3)]
    assert recorded.watermark == await log.head()


async def test_a_refusal_lists_what_one_field_and_what_several_break(intake: LogIntake) -> None:
    bad = Event("e" * 129, "", "", EventType.RATING, NOW_MS, value=None, surface="s" * 65)

    recorded = await intake.record_events([event(1), bad])

    error = recorded.refused[1]
    assert error.reason is ErrorReason.INVALID_FIELD
    assert {violation.field for violation in error.violations} == {
        "events[1].event_id",
        "events[1].surface",
        "events[1].user_id",
        "events[1].item_id",
        "events[1].value",
    }


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
async def test_a_value_that_is_no_number_is_refused(intake: LogIntake, value: float) -> None:
    recorded = await intake.record_events([event(1, value=value)])

    assert [each.field for each in recorded.refused[0].violations] == ["events[0].value"]


async def test_an_event_without_time_happened_when_it_was_received(intake: LogIntake, log: MemoryLog) -> None:
    await intake.record_events([event(1, event_time_ms=0)])

    assert facts(log) == [event(1, event_time_ms=NOW_MS)]


async def test_the_future_is_accepted_as_far_as_clocks_may_differ(intake: LogIntake) -> None:
    near, far = event(1, event_time_ms=NOW_MS + SKEW_MS), event(2, event_time_ms=NOW_MS + SKEW_MS + 1)

    recorded = await intake.record_events([near, far])

    assert set(recorded.refused) == {1}


async def test_a_batch_of_nothing_good_writes_nothing(intake: LogIntake, log: MemoryLog) -> None:
    await intake.record_events([event(1)])

    recorded = await intake.record_events([event(2, user_id="")])

    assert recorded.watermark == Watermark.of(1)
    assert len(log.records) == 1


async def test_kinds_of_the_future_are_kept(intake: LogIntake, log: MemoryLog) -> None:
    recorded = await intake.record_events([event(1, event_type=4_000)])

    assert recorded.refused == {}
    assert facts(log) == [event(1, event_type=4_000)]


async def test_items_and_profiles_are_judged_one_by_one(intake: LogIntake, log: MemoryLog) -> None:
    items = await intake.upsert_items([Item("x"), Item(""), Item("y", title="t" * 1_025)])
    users = await intake.upsert_users([User(""), User("ada", ("jazz",))])

    assert {row: [each.field for each in error.violations] for row, error in items.refused.items()} == {
        1: ["items[1].item_id"],
        2: ["items[2].title"],
    }
    assert set(users.refused) == {0}
    assert facts(log) == [Item("x"), User("ada", ("jazz",))]


async def test_an_erasure_names_the_stores_and_which_of_them_follow(intake: LogIntake, log: MemoryLog) -> None:
    await intake.record_events([event(1), event(2)])

    receipt = await intake.erase_user("ada")

    assert [(each.store, each.records, each.done) for each in receipt.stores] == [
        ("event-log", 2, True),
        ("features", 0, False),
    ]
    assert (receipt.watermark, receipt.erased_ms) == (await log.head(), NOW_MS)


async def test_erasing_an_unknown_user_is_an_empty_receipt(intake: LogIntake) -> None:
    receipt = await intake.erase_user("nobody")

    assert (receipt.stores, receipt.model_versions, receipt.erased_ms) == ((), (), 0)


async def test_an_export_begins_with_the_latest_profile_and_holds_the_rest_in_order(
    intake: LogIntake, log: MemoryLog
) -> None:
    await log.append([User("ada", ("old",)), event(1), slate("r-1"), event(2, user_id="bob"), event(3)])
    await log.append([User("ada", ("new",))])

    runs = [run async for run in intake.export_user("ada")]

    assert runs[0].user == User("ada", ("new",))
    assert all(run.user is None for run in runs[1:])
    assert [each for run in runs for each in run.events] == [event(1), event(3)]
    assert [each.recommendation_id for run in runs for each in run.slates] == ["r-1"]


async def test_the_export_of_an_unknown_user_is_empty(intake: LogIntake) -> None:
    assert [run async for run in intake.export_user("nobody")] == []
