"""The rules of the contract, executed."""

from __future__ import annotations

import pytest
from winnow.v1 import event_pb2, feedback_service_pb2, item_pb2, recommendation_service_pb2

from shared.kernel.errors import FieldViolation
from shared.kernel.validation import violations, warm


def test_a_message_within_its_rules_has_no_violations() -> None:
    assert violations(feedback_service_pb2.GetSlateRequest(recommendation_id="r")) == ()


def test_a_violation_names_the_field_and_the_rule() -> None:
    found = violations(feedback_service_pb2.GetSlateRequest(recommendation_id="r" * 129))

    assert found == (FieldViolation("recommendation_id", "must be at most 128 bytes"),)


def test_every_broken_rule_is_told() -> None:
    found = violations(event_pb2.Event(user_id="u" * 129, item_id="i" * 129))

    assert {"event_id", "user_id", "item_id"} <= {each.field for each in found}


def test_a_field_inside_a_list_is_told_by_its_dotted_path() -> None:
    good, bad = item_pb2.Attribute(name="year", string_value="2001"), item_pb2.Attribute(string_value="2001")

    found = violations(item_pb2.Item(item_id="i", attributes=[good, bad], tags=["ok", "t" * 129]))

    assert [each.field for each in found] == ["tags[1]", "attributes[1].name"]


def test_an_item_of_a_batch_is_told_by_its_place_in_the_request() -> None:
    found = violations(event_pb2.Event(), "events[3]")

    assert "events[3].event_id" in {each.field for each in found}


def test_warming_up_takes_every_service_of_the_contract() -> None:
    services = [feedback_service_pb2.DESCRIPTOR, recommendation_service_pb2.DESCRIPTOR]

    warm([service.full_name for file in services for service in file.services_by_name.values()])

    assert [each.field for each in violations(feedback_service_pb2.GetSlateRequest())] == ["recommendation_id"]


def test_a_service_that_is_not_in_the_contract_cannot_be_warmed_up() -> None:
    with pytest.raises(KeyError, match=r"winnow\.v1\.NoSuchService"):
        warm(["winnow.v1.NoSuchService"])
