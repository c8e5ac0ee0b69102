"""What the short way lets into the log is what the long way would have let in, and reads the same."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from winnow.v1 import event_pb2

from services.feedback.sent_events import TEXTS, read_events
from services.feedback.validation import TimeBounds, event_violations
from shared.domain.event_log import SentEvent
from shared.domain.events import Event
from shared.domain.expiry import Expiry
from shared.kernel.validation import violations
from shared.wire.events import event_from_proto, event_to_proto
from shared.wire.log import fact_from_bytes

NOW_MS = 1_700_000_000_000
BOUNDS = TimeBounds(NOW_MS + 60_000, Expiry(events_before_ms=NOW_MS - 9_000, impressions_before_ms=NOW_MS - 5_000))
CLICK = Event("e-1", "ada", "x", 3, NOW_MS, recommendation_id="r-1", surface="home")
VALIDATED = {"event_type", "value", *TEXTS}
"""The fields that the protos have rules for."""

texts = st.one_of(
    st.text(max_size=4),
    st.builds(
        lambda letter, count, more: letter * count + more,
        st.sampled_from("aé漢😀"), st.integers(14, 129), st.text(max_size=2),
    ),
)  # fmt: skip
seconds = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-100, 100).map(lambda part: NOW_MS // 1000 + part))
times = st.builds(Timestamp, seconds=seconds, nanos=st.integers(-(2**31), 2**31 - 1))


@st.composite
def messages(draw: st.DrawFn) -> event_pb2.Event:
    message = event_pb2.Event(**{name: draw(texts) for name in TEXTS})
    message.event_type = draw(st.integers(-1, 15))
    if draw(st.booleans()):
        message.value = draw(st.floats())
    if draw(st.booleans()):
        message.event_time.CopyFrom(draw(times))
    return message


def dated(message: event_pb2.Event) -> Event:
    event = event_from_proto(message)
    return event_from_proto(event_to_proto(event)) if event.event_time_ms else _at_now(event)


def _at_now(event: Event) -> Event:
    message = event_to_proto(event)
    message.event_time.FromMilliseconds(NOW_MS)
    return event_from_proto(message)


@given(st.lists(messages(), max_size=4))
def test_each_event_is_judged_and_kept_as_by_all_the_rules(sent: list[event_pb2.Event]) -> None:
    events = [dated(each) for each in sent]
    wrong = {
        row: found
        for row, (each, event) in enumerate(zip(sent, events, strict=True))
        if (found := violations(each, f"events[{row}]") + event_violations(event, BOUNDS, f"events[{row}]"))
    }

    read = read_events(sent, BOUNDS, NOW_MS)

    assert read.broken == wrong
    for row, fact in enumerate(read.facts):
        kept = fact_from_bytes(fact.payload) if isinstance(fact, SentEvent) else fact
        assert row in wrong or kept == events[row]
        assert (
            row in wrong or not isinstance(fact, SentEvent) or fact[:2] == (events[row].event_id, events[row].user_id)
        )


@pytest.mark.parametrize(
    "message",
    [
        event_to_proto(CLICK),
        event_pb2.Event(event_id="e", user_id="u", item_id="i", event_type=3),
        event_pb2.Event(event_id="e" * 128, user_id="u" * 36, item_id="漢" * 42, event_type=3, surface="s" * 64),
        event_pb2.Event(event_id="e", user_id="u", item_id="i", event_type=10, value=0.0),
    ],
)
def test_plainly_good_events_are_not_made_objects_of(message: event_pb2.Event) -> None:
    read = read_events([message], BOUNDS, NOW_MS)

    assert isinstance(read.facts[0], SentEvent)


def test_fields_of_the_future_do_not_come_into_the_log() -> None:
    future = event_pb2.Event.FromString(event_to_proto(CLICK).SerializeToString() + b"\xfa\x7f\x03abc")

    (fact,) = read_events([future], BOUNDS, NOW_MS).facts

    assert isinstance(fact, SentEvent)
    assert b"abc" not in fact.payload


def test_the_short_way_knows_each_field_that_has_a_rule() -> None:
    ruled = {field.name for field in event_pb2.Event.DESCRIPTOR.fields if field.has_options}

    assert ruled == VALIDATED
