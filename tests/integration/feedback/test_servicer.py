"""The service as a client sees it: statuses, details, streams, limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from winnow.v1 import catalog_service_pb2 as catalog_pb
from winnow.v1 import event_pb2, item_pb2, slate_pb2
from winnow.v1 import feedback_service_pb2 as pb
from winnow.v1 import feedback_service_pb2_grpc as pb_grpc
from winnow.v1.catalog_service_pb2_grpc import CatalogServiceStub

from shared.kernel.errors import from_rpc_error
from tests.contract.event_log_adapters import NOW_MS, event, records, until_error
from tests.integration.feedback.service import Service, serving


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(tmp_path / "data") as running:
        yield running


@pytest.fixture
def stub(service: Service) -> pb_grpc.FeedbackServiceAsyncStub:
    return pb_grpc.FeedbackServiceStub(service.channel)


def click(number: int, **fields: object) -> event_pb2.Event:
    values = {"event_id": f"event-{number}", "user_id": "ada", "item_id": f"item-{number}", "event_type": 3}
    return event_pb2.Event(**(values | fields))  # type: ignore[arg-type]


def details(status: status_pb2.Status) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest]:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    (first, second) = status.details
    assert first.Unpack(info)
    assert second.Unpack(bad)
    return info, bad


async def test_each_event_gets_a_status_in_request_order(stub: pb_grpc.FeedbackServiceAsyncStub) -> None:
    answer = await stub.RecordEvents(pb.RecordEventsRequest(events=[click(1), click(2, event_type=0), click(1)]))

    assert [status.code for status in answer.statuses] == [0, grpc.StatusCode.INVALID_ARGUMENT.value[0], 0]
    assert answer.watermark == "w1-0.1"


async def test_a_refusal_carries_one_error_info_and_every_violation(stub: pb_grpc.FeedbackServiceAsyncStub) -> None:
    bad = click(1, event_id="", item_id="", event_type=10, event_time=Timestamp(seconds=NOW_MS // 1000 + 601))

    answer = await stub.RecordEvents(pb.RecordEventsRequest(events=[bad]))

    info, request = details(answer.statuses[0])
    assert (info.reason, info.domain, info.metadata["fieldViolations"]) == ("INVALID_FIELD", "winnow.v1", "4")
    assert {violation.field for violation in request.field_violations} == {
        f"events[0].{field}" for field in ("event_id", "item_id", "value", "event_time")
    }


@pytest.mark.parametrize("count", [0, 1_001])
async def test_a_batch_of_no_or_too_many_events_is_refused_as_a_whole(
    stub: pb_grpc.FeedbackServiceAsyncStub, count: int
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.RecordEvents(pb.RecordEventsRequest(events=[click(number) for number in range(count)]))

    error = from_rpc_error(refused.value)
    assert (error.reason.name, [each.field for each in error.violations]) == ("INVALID_FIELD", ["events"])


async def test_the_time_of_receipt_stands_in_for_a_missing_one(
    service: Service, stub: pb_grpc.FeedbackServiceAsyncStub
) -> None:
    await stub.RecordEvents(pb.RecordEventsRequest(events=[click(1)]))

    assert [record.fact for record in await records(service.app.log)] == [event(1, event_time_ms=NOW_MS)]


async def test_a_request_of_ten_megabytes_is_refused_and_the_next_one_is_served(
    stub: pb_grpc.FeedbackServiceAsyncStub,
) -> None:
    huge = pb.RecordEventsRequest(events=[click(number, surface="s" * 10_500) for number in range(1_000)])
    assert huge.ByteSize() > 10_000_000

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.RecordEvents(huge)
    answer = await stub.RecordEvents(pb.RecordEventsRequest(events=[click(1)]))

    error = from_rpc_error(refused.value)
    assert (error.code, error.reason.name) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "MESSAGE_TOO_LARGE")
    assert (error.metadata["bytes"], error.metadata["limitBytes"]) == (str(huge.ByteSize()), "4194304")
    assert answer.watermark == "w1-0.1"


async def test_a_stream_is_acknowledged_batch_by_batch_in_order(
    service: Service, stub: pb_grpc.FeedbackServiceAsyncStub
) -> None:
    async def batches() -> AsyncIterator[pb.StreamEventsRequest]:
        for start in range(0, 300, 3):
            yield pb.StreamEventsRequest(events=[click(start), click(start + 1, item_id=""), click(start + 2)])

    answers = [answer async for answer in stub.StreamEvents(batches())]

    assert [[status.code for status in answer.statuses] for answer in answers] == [[0, 3, 0]] * 100
    offsets = [int(answer.watermark.rpartition(".")[2]) for answer in answers]
    assert offsets == sorted(offsets)
    assert all(offset >= 2 * row for row, offset in enumerate(offsets, 1))
    assert [record.fact.item_id for record in await records(service.app.log)] == [  # type: ignore[union-attr]
        f"item-{number}" for number in range(300) if number % 3 != 1
    ]


async def test_a_stream_ends_at_a_batch_that_breaks_the_contract_behind_the_answers_before_it(
    stub: pb_grpc.FeedbackServiceAsyncStub,
) -> None:
    async def batches() -> AsyncIterator[pb.StreamEventsRequest]:
        yield pb.StreamEventsRequest(events=[click(1)])
        yield pb.StreamEventsRequest()

    answers, refused = await until_error(aiter(stub.StreamEvents(batches())), grpc.aio.AioRpcError)

    assert [answer.watermark for answer in answers] == ["w1-0.1"]
    assert from_rpc_error(refused).reason.name == "INVALID_FIELD"


async def test_a_stream_whose_client_goes_keeps_what_was_acknowledged(
    service: Service, stub: pb_grpc.FeedbackServiceAsyncStub
) -> None:
    held = asyncio.Event()

    async def batches() -> AsyncIterator[pb.StreamEventsRequest]:
        yield pb.StreamEventsRequest(events=[click(1)])
        await held.wait()

    call = stub.StreamEvents(batches())
    async for answer in call:
        assert answer.watermark == "w1-0.1"
        break
    call.cancel()

    assert len(await records(service.app.log)) == 1


async def test_a_tail_takes_up_where_it_was_left(stub: pb_grpc.FeedbackServiceAsyncStub) -> None:
    await stub.RecordEvents(pb.RecordEventsRequest(events=[click(number) for number in range(10)]))

    first = [each async for each in stub.TailEvents(pb.TailEventsRequest(batch_size=4))]
    rest = [each async for each in stub.TailEvents(pb.TailEventsRequest(after_watermark=first[0].watermark))]

    assert [len(each.records) for each in first] == [4, 4, 2]
    assert [record.event.event_id for each in rest for record in each.records] == [
        f"event-{row}" for row in range(4, 10)
    ]
    assert first[-1].watermark == first[-1].head_watermark == "w1-0.10"


@pytest.mark.parametrize("watermark", ["w1-0.7", "w1-3.1", "w2-0.1", "0"])
async def test_a_watermark_that_is_not_the_logs_is_refused(
    stub: pb_grpc.FeedbackServiceAsyncStub, watermark: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.TailEvents(pb.TailEventsRequest(after_watermark=watermark, follow=True)).read()

    error = from_rpc_error(refused.value)
    assert (error.code, error.reason.name) == (grpc.StatusCode.INVALID_ARGUMENT, "WATERMARK_INVALID")
    assert error.metadata == {"watermark": watermark}


async def test_a_negative_batch_size_is_refused_a_huge_one_coerced(
    stub: pb_grpc.FeedbackServiceAsyncStub,
) -> None:
    await stub.RecordEvents(pb.RecordEventsRequest(events=[click(1)]))

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.TailEvents(pb.TailEventsRequest(batch_size=-1)).read()
    answers = [each async for each in stub.TailEvents(pb.TailEventsRequest(batch_size=2**31 - 1))]

    assert [each.field for each in from_rpc_error(refused.value).violations] == ["batch_size"]
    assert len(answers) == 1


async def test_a_slate_that_is_gone_is_not_found_with_its_id(stub: pb_grpc.FeedbackServiceAsyncStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.GetSlate(pb.GetSlateRequest(recommendation_id="r-404"))

    error = from_rpc_error(refused.value)
    assert (error.code, error.reason.name) == (grpc.StatusCode.NOT_FOUND, "RECOMMENDATION_NOT_FOUND")
    assert error.metadata == {"recommendationId": "r-404"}


async def test_slates_whose_columns_do_not_fit_are_refused_by_their_row(stub: pb_grpc.FeedbackServiceAsyncStub) -> None:
    crooked = slate_pb2.ServedSlate(recommendation_id="r-2", actions=[3], probabilities=[0.5, 0.5])

    good = slate_pb2.ServedSlate(recommendation_id="r-1")
    answer = await stub.RecordSlates(pb.RecordSlatesRequest(slates=[slate_pb2.ServedSlate(), crooked, good]))

    refused = grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert [status.code for status in answer.statuses] == [refused, refused, 0]
    fields = [[each.field for each in details(status)[1].field_violations] for status in answer.statuses[:2]]
    assert fields == [["slates[0].recommendation_id"], ["slates[1]"]]
    kept = (await stub.GetSlate(pb.GetSlateRequest(recommendation_id="r-1"))).slate
    assert kept.recommendation_id == "r-1"


async def test_a_slate_from_too_far_ahead_carries_one_error_info_and_the_field(
    stub: pb_grpc.FeedbackServiceAsyncStub,
) -> None:
    times = [NOW_MS // 1000 + 600, NOW_MS // 1000 + 601]
    slates = [slate_pb2.ServedSlate(recommendation_id=f"r-{at}", served_time=Timestamp(seconds=at)) for at in times]

    answer = await stub.RecordSlates(pb.RecordSlatesRequest(slates=slates))

    assert [status.code for status in answer.statuses] == [0, grpc.StatusCode.INVALID_ARGUMENT.value[0]]
    info, bad = details(answer.statuses[1])
    assert (info.reason, info.domain) == ("INVALID_FIELD", "winnow.v1")
    assert [each.field for each in bad.field_violations] == ["slates[1].served_time"]


async def test_a_repeated_attribute_is_refused_with_the_item(service: Service) -> None:
    twice = [item_pb2.Attribute(name="year", number_value=number) for number in (1, 2)]
    request = catalog_pb.UpsertItemsRequest(items=[item_pb2.Item(item_id="x", attributes=twice)])

    answer = await CatalogServiceStub(service.channel).UpsertItems(request)

    _, bad = details(answer.statuses[0])
    assert [violation.field for violation in bad.field_violations] == ["items[0].attributes"]


async def test_a_profile_with_a_repeated_attribute_is_refused(service: Service) -> None:
    twice = [item_pb2.Attribute(name="plan", string_value=text) for text in "ab"]
    request = catalog_pb.UpsertUsersRequest(users=[item_pb2.User(user_id="ada", attributes=twice)])

    answer = await CatalogServiceStub(service.channel).UpsertUsers(request)

    _, bad = details(answer.statuses[0])
    assert [violation.field for violation in bad.field_violations] == ["users[0].attributes"]
