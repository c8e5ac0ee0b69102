"""The ports `Feedback` and `Intake` behave alike in one process and over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from shared.domain.event_log import Fact, ItemDeletion
from shared.domain.events import Event, EventType
from shared.domain.intake import Intake, Recorded
from shared.domain.items import Item, User
from shared.domain.services import Feedback
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.kernel.errors import ServiceError
from tests.contract.event_log_adapters import NOW_MS, as_bytes, event, slate
from tests.integration.feedback.service import serving


@dataclass(frozen=True)
class Ports:
    feedback: Feedback
    intake: Intake


@pytest.fixture(params=["in process", "over gRPC"])
async def ports(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ports]:
    async with serving(tmp_path / "data") as service:
        if request.param == "in process":
            yield Ports(service.app.feedback, service.app.intake)
        else:
            yield Ports(service.client, service.client)


async def facts(ports: Ports) -> list[Fact | None]:
    found = []
    async for batch in ports.feedback.tail(Watermark(), follow=False):
        found += [record.fact for record in batch.records]
    return found


async def test_events_are_in_the_log_when_the_answer_comes(ports: Ports) -> None:
    recorded = await ports.intake.record_events([event(1), event(2, item_id=""), event(3)])

    assert set(recorded.refused) == {1}
    assert recorded.refused[1].reason.name == "INVALID_FIELD"
    assert [each.field for each in recorded.refused[1].violations] == ["events[1].item_id"]
    assert await facts(ports) == [event(1), event(3)]
    assert recorded.watermark == Watermark.of(2)


async def test_every_violation_of_every_event_comes_at_once(ports: Ports) -> None:
    bad = Event("", "u" * 129, "", EventType.DWELL, NOW_MS + 600_001, float("nan"), surface="s" * 65)

    recorded = await ports.intake.record_events([bad, event(1, event_type=-1, user_id="")])

    assert {each.field for each in recorded.refused[0].violations} == {
        f"events[0].{field}" for field in ("event_id", "user_id", "item_id", "event_time", "value", "surface")
    }
    assert {each.field for each in recorded.refused[1].violations} == {"events[1].event_type", "events[1].user_id"}


async def test_the_catalogue_and_profiles_go_in_and_out(ports: Ports) -> None:
    item = Item("x", title="A title", categories=("drama",), attributes={"year": 1999.0, "new": True})

    items = await ports.intake.upsert_items([item, Item("y" * 129)])
    users = await ports.intake.upsert_users([User("ada", ("jazz",), {"premium": True}), User("")])
    deleted = await ports.intake.delete_items(["x", "never-there"])

    assert (set(items.refused), set(users.refused)) == ({1}, {1})
    assert deleted == Watermark.of(4)
    assert as_bytes(await facts(ports)) == as_bytes(
        [
            item,
            User("ada", ("jazz",), {"premium": True}),
            ItemDeletion("x"),
            ItemDeletion("never-there"),
        ]
    )


async def test_a_slate_is_read_back_with_all_its_inputs(ports: Ports) -> None:
    recorded = await ports.feedback.record_slates([slate("r-1"), slate("r-1", first_position=10)])

    found = await ports.feedback.slate("r-1")

    assert recorded == Recorded(Watermark.of(2), {})
    assert as_bytes([found]) == as_bytes([slate("r-1")])


async def test_a_slate_that_is_not_there_is_none(ports: Ports) -> None:
    assert await ports.feedback.slate("never-served") is None


async def test_more_slates_than_one_call_carries_are_recorded(ports: Ports) -> None:
    slates = [slate(f"r-{number}") for number in range(250)]

    recorded = await ports.feedback.record_slates(slates)

    assert recorded == Recorded(Watermark.of(250), {})
    assert as_bytes(await facts(ports)) == as_bytes(slates)


async def test_a_slate_from_too_far_ahead_is_refused_alone_by_its_row_over_several_calls(ports: Ports) -> None:
    slates = [slate(f"r-{number}") for number in range(150)]
    slates[3] = replace(slates[3], served_ms=NOW_MS + 600_000)
    slates[120] = replace(slates[120], served_ms=NOW_MS + 600_001)

    recorded = await ports.feedback.record_slates(slates)

    assert [(row, error.reason.name) for row, error in recorded.refused.items()] == [(120, "INVALID_FIELD")]
    (violation,) = recorded.refused[120].violations
    assert violation.field.endswith(".served_time")
    assert "1 s further in the future" in violation.description
    assert recorded.watermark == Watermark.of(149)
    assert as_bytes(await facts(ports)) == as_bytes(slates[:120] + slates[121:])
    assert await ports.feedback.slate("r-120") is None


async def test_more_events_than_one_call_carries_are_recorded_and_refused_by_their_row(ports: Ports) -> None:
    recorded = await ports.intake.record_events(
        [event(number, user_id="" if number == 2_345 else "ada") for number in range(2_500)]
    )

    assert set(recorded.refused) == {2_345}
    assert recorded.watermark == Watermark.of(2_499)


async def test_a_follower_gets_what_comes(ports: Ports) -> None:
    await ports.intake.record_events([event(1)])
    seen: list[Fact | None] = []

    async with aclosing(ports.feedback.tail(Watermark(), follow=True)) as following:  # type: ignore[type-var]
        async for batch in following:
            seen += [record.fact for record in batch.records]
            if not batch.records:
                assert batch.watermark == batch.head
                await ports.intake.record_events([event(2)])
            if len(seen) == 2:
                break

    assert seen == [event(1), event(2)]


async def test_a_position_of_another_log_is_refused(ports: Ports) -> None:
    with pytest.raises(ServiceError) as refused:
        async for _ in ports.feedback.tail(Watermark.of(99), follow=True):
            pass

    assert refused.value.reason.name == "WATERMARK_INVALID"


async def test_erasing_tells_what_was_removed_and_the_export_is_empty_afterwards(ports: Ports) -> None:
    await ports.intake.upsert_users([User("ada", ("jazz",))])
    await ports.intake.record_events([event(1), event(2, user_id="bob")])
    await ports.feedback.record_slates([slate("r-1")])
    before = [run async for run in ports.intake.export_user("ada")]

    receipt = await ports.intake.erase_user("ada")

    assert before[0].user == User("ada", ("jazz",))
    assert [each for run in before for each in run.events] == [event(1)]
    assert as_bytes(each for run in before for each in run.slates) == as_bytes([slate("r-1")])
    assert [(each.store, each.records, each.done) for each in receipt.stores] == [
        ("event-log", 3, True),
        ("features", 0, False),
    ]
    assert (receipt.watermark, receipt.erased_ms) == (Watermark.of(5), NOW_MS)
    assert [run async for run in ports.intake.export_user("ada")] == []
    assert not any(isinstance(fact, ServedSlate) for fact in await facts(ports))


async def test_erasing_an_unknown_user_is_success(ports: Ports) -> None:
    receipt = await ports.intake.erase_user("nobody")

    assert (receipt.stores, receipt.erased_ms) == ((), 0)
