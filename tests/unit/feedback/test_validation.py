"""The rules between fields: each violation names its field, and all of them come at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.feedback.validation import (
    EARLIEST_MS,
    LATEST_MS,
    TimeBounds,
    attribute_violations,
    event_violations,
    item_violations,
    slate_violations,
)
from shared.domain.events import Event, EventType
from shared.domain.expiry import Expiry
from shared.domain.items import Item
from shared.domain.retrieval import SourceHits
from shared.domain.slates import Evidence, Labels, ServedSlate
from tests import domain_strategies as some

NOW_MS = 1_800_000_000_000
ANY_TIME = TimeBounds(LATEST_MS)
CLICK = Event("e-1", "ada", "item-1", EventType.CLICK, NOW_MS)


def broken_fields(event: Event) -> list[str]:
    return [violation.field for violation in event_violations(event, TimeBounds(NOW_MS))]


def test_a_good_event_breaks_nothing() -> None:
    assert broken_fields(CLICK) == []


@pytest.mark.parametrize("kind", [kind for kind in EventType if kind not in {EventType.UNSPECIFIED, EventType.FOLLOW}])
def test_every_kind_but_follow_is_about_an_item(kind: EventType) -> None:
    event = CLICK._replace(event_type=kind, item_id="", value=1.0)

    assert broken_fields(event) == ["item_id"]


def test_a_follow_needs_no_item_but_somebody_to_follow() -> None:
    follow = CLICK._replace(event_type=EventType.FOLLOW, item_id="")

    assert broken_fields(follow._replace(target_id="bob")) == []
    assert broken_fields(follow) == ["target_id"]


@pytest.mark.parametrize("kind", [kind for kind in EventType if kind != EventType.UNSPECIFIED])
def test_a_target_stands_for_the_item_of_a_follow_and_a_hide_only(kind: EventType) -> None:
    event = CLICK._replace(event_type=kind, item_id="", target_id="horror", value=1.0)

    expected = [] if kind in {EventType.FOLLOW, EventType.HIDE} else ["item_id"]
    assert broken_fields(event) == expected


@pytest.mark.parametrize("kind", [EventType.RATING, EventType.DWELL])
def test_a_rating_and_a_dwell_need_a_value(kind: EventType) -> None:
    assert broken_fields(CLICK._replace(event_type=kind)) == ["value"]
    assert broken_fields(CLICK._replace(event_type=kind, value=0.0)) == []


def test_feedback_is_always_a_users() -> None:
    assert broken_fields(CLICK._replace(user_id="")) == ["user_id"]


def test_a_negative_kind_is_refused_and_one_of_the_future_is_kept() -> None:
    assert broken_fields(CLICK._replace(event_type=-1)) == ["event_type"]
    assert broken_fields(CLICK._replace(event_type=4_000)) == []


def test_the_latest_permitted_time_is_permitted_and_the_next_millisecond_is_not() -> None:
    assert broken_fields(CLICK._replace(event_time_ms=NOW_MS)) == []
    assert broken_fields(CLICK._replace(event_time_ms=NOW_MS + 1)) == ["event_time"]


def test_a_time_in_the_future_is_told_with_its_distance() -> None:
    (violation,) = event_violations(CLICK._replace(event_time_ms=NOW_MS + 90_001), TimeBounds(NOW_MS))

    assert "91 s" in violation.description


def test_the_past_is_accepted_down_to_the_year_one() -> None:
    assert broken_fields(CLICK._replace(event_time_ms=EARLIEST_MS)) == []
    assert broken_fields(CLICK._replace(event_time_ms=EARLIEST_MS - 1)) == ["event_time"]


def test_what_is_older_than_its_kind_is_kept_is_refused_and_hides_and_follows_never_are() -> None:
    bounds = TimeBounds(NOW_MS, Expiry(events_before_ms=NOW_MS - 10, impressions_before_ms=NOW_MS - 5))
    kinds = (EventType.CLICK, EventType.IMPRESSION, EventType.HIDE)

    refused = {
        (kind, age)
        for kind in kinds
        for age in (0, 7, 11)
        if event_violations(CLICK._replace(event_type=int(kind), event_time_ms=NOW_MS - age), bounds)
    }

    assert refused == {(EventType.CLICK, 11), (EventType.IMPRESSION, 7), (EventType.IMPRESSION, 11)}


def test_all_violations_come_at_once_with_their_path() -> None:
    event = Event("e-1", "", "", EventType.RATING, NOW_MS + 1)

    found = event_violations(event, TimeBounds(NOW_MS), prefix="events[3]")

    assert {violation.field for violation in found} == {
        "events[3].user_id",
        "events[3].item_id",
        "events[3].value",
        "events[3].event_time",
    }
    assert all(violation.description for violation in found)


@given(some.events(), st.integers(-(2**62), 2**62))
def test_any_event_is_judged_without_an_accident(event: Event, latest_ms: int) -> None:
    for violation in event_violations(event, TimeBounds(latest_ms)):
        assert violation.field in {"user_id", "item_id", "target_id", "value", "event_time"}


def test_a_good_item_breaks_nothing() -> None:
    item = Item("x", available_from_ms=1, available_until_ms=2, created_ms=NOW_MS, attributes={"year": 1.0})

    assert item_violations(item, ["year"]) == ()


def test_an_item_that_would_never_be_available_is_refused() -> None:
    (violation,) = item_violations(Item("x", available_from_ms=5, available_until_ms=5), [], "items[1]")

    assert violation.field == "items[1].available_until_time"


def test_times_outside_the_calendar_are_refused() -> None:
    early, late = EARLIEST_MS - 1, LATEST_MS + 1

    early_item = Item("x", available_from_ms=early, available_until_ms=early, created_ms=early)
    late_item = Item("x", available_from_ms=late, available_until_ms=late + 1, created_ms=late)

    fields = {"available_from_time", "available_until_time", "created_time"}
    assert {violation.field for violation in item_violations(early_item, [])} == fields
    assert {violation.field for violation in item_violations(late_item, [])} == fields


def test_a_name_of_an_attribute_may_occur_once() -> None:
    (violation,) = attribute_violations(["year", "colour", "year"], "users[0]")

    assert violation.field == "users[0].attributes"
    assert "'year'" in violation.description


def test_names_may_come_as_the_mapping_that_they_are_keys_of() -> None:
    assert attribute_violations({"year": 1999.0, "new": True}) == ()


@given(some.slates())
def test_a_slate_whose_columns_fit_together_breaks_nothing(slate: ServedSlate) -> None:
    assert slate_violations(slate, ANY_TIME) == ()


@given(some.slates())
def test_a_slate_is_of_a_year_that_calendars_know(slate: ServedSlate) -> None:
    fields = [
        [each.field for each in slate_violations(replace(slate, served_ms=served_ms), ANY_TIME)]
        for served_ms in (EARLIEST_MS - 1, EARLIEST_MS, LATEST_MS, LATEST_MS + 1)
    ]

    assert fields == [["served_time"], [], [], ["served_time"]]


@given(some.slates())
def test_a_slate_may_lie_in_the_future_as_far_as_an_event(slate: ServedSlate) -> None:
    found = [slate_violations(replace(slate, served_ms=at), TimeBounds(NOW_MS)) for at in (NOW_MS, NOW_MS + 90_001)]

    assert found[0] == ()
    assert [each.field for each in found[1]] == ["served_time"]
    assert "91 s" in found[1][0].description


OUTSIDE = np.array([-1], np.int32)


@given(some.slates(), st.sampled_from([OUTSIDE, np.array([5], np.int32)]))
def test_every_column_of_rows_must_stay_inside_the_candidates(slate: ServedSlate, rows: np.ndarray) -> None:
    crooked = replace(
        slate,
        shown_rows=rows,
        reserve_rows=rows,
        propensities=np.ones(1, np.float32),
        evidence=Evidence(rows, np.ones(1, np.float32), np.ones(1, np.float32)),
        labels=Labels(("tag:a",), (rows,)),
        sources=(SourceHits("popular", rows, np.empty(0, np.float32)),),
    )

    assert [each.field for each in slate_violations(crooked, ANY_TIME, "slates[0]")] == [
        "slates[0].reserve_rows",
        "slates[0].shown_rows",
        "slates[0].reserve_rows",
        "slates[0].evidence.rows",
        "slates[0].labels.rows",
        "slates[0].sources[0].rows",
        "slates[0].sources[0].scores",
    ]


@given(some.slates())
def test_every_column_of_values_has_one_for_each_of_its_rows(slate: ServedSlate) -> None:
    crooked = replace(
        slate,
        recommendation_id="",
        values=np.append(slate.values, 1.0),
        propensities=np.append(slate.propensities, np.float32(1)),
        action_weights=(*slate.action_weights, 1.0),
    )

    assert [each.field for each in slate_violations(crooked, ANY_TIME)] == [
        "recommendation_id",
        "action_weights",
        "values",
        "propensities",
    ]
