"""Errors: what goes over the wire, and how it is read back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from winnow.v1 import error_reason_pb2

from shared.kernel.errors import (
    ErrorReason,
    FieldViolation,
    Reason,
    ServiceError,
    from_rpc_error,
    from_status,
    invalid_fields,
    to_status,
    unavailable_dependency,
)

PROTO = Path(__file__).parents[3] / "protos/winnow/v1/error_reason.proto"
REASONS = [value for value in vars(ErrorReason).values() if isinstance(value, Reason)]
SPECIFIC = {"UNSPECIFIED", "RECOMMENDATION_NOT_FOUND"}
"""Values of the contract that the kernel leaves to the services that give them."""


def details(status: status_pb2.Status, kind: type[Any]) -> list[Any]:
    """The details of one kind."""
    found = []
    for detail in status.details:
        message = kind()
        if detail.Unpack(message):
            found.append(message)
    return found


def rpc_error(code: StatusCode, text: str, trailer: bytes | None = None) -> grpc.aio.AioRpcError:
    """An error as grpc.aio raises it at a caller."""
    pairs = [] if trailer is None else [("grpc-status-details-bin", trailer)]
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*pairs), details=text)


def test_the_kernel_has_every_reason_of_the_contract_that_is_not_one_services_own() -> None:
    contract = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name}

    assert contract - SPECIFIC == {reason.name for reason in REASONS}


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.name)
def test_the_code_of_a_reason_is_the_one_that_the_contract_documents(reason: Reason) -> None:
    documented = re.search(rf"// ([A-Z_]+)[^\n]*(?:\n *//[^\n]*)*\n *ERROR_REASON_{reason.name} =", PROTO.read_text())

    assert documented is not None
    assert documented[1] == reason.code.name


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.name)
def test_a_status_has_exactly_one_error_info_with_reason_domain_and_metadata(reason: Reason) -> None:
    status = to_status(ServiceError(reason, "what to do", metadata={"path": "/x"}))

    (info,) = details(status, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == (reason.name, "winnow.v1", {"path": "/x"})
    assert (status.code, status.message) == (reason.code.value[0], "what to do")


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.name)
def test_retry_info_goes_with_unavailable_and_resource_exhausted_and_with_nothing_else(reason: Reason) -> None:
    status = to_status(ServiceError(reason, "", retry_after_ms=2_500))

    retries = [each.retry_delay.ToMilliseconds() for each in details(status, error_details_pb2.RetryInfo)]
    assert retries == ([2_500] if reason.code.name in ("UNAVAILABLE", "RESOURCE_EXHAUSTED") else [])


def test_without_a_time_of_its_own_a_retry_waits_as_long_as_its_reason_says() -> None:
    status = to_status(ServiceError(ErrorReason.STORAGE_FULL, ""))

    (retry,) = details(status, error_details_pb2.RetryInfo)
    assert retry.retry_delay.seconds == 30


def test_all_violations_are_told_at_once_and_counted() -> None:
    broken = [FieldViolation(f"events[{index}].item_id", "must not be empty") for index in range(5)]

    error = invalid_fields(broken)
    (bad_request,) = details(to_status(error), error_details_pb2.BadRequest)

    assert [each.field for each in bad_request.field_violations] == [each.field for each in broken]
    assert error.metadata == {"fieldViolations": "5"}
    assert error.message.startswith("events[0].item_id: must not be empty; ")
    assert error.message.endswith("; and 2 more")


def test_a_violation_of_the_whole_request_is_told_as_the_requests() -> None:
    error = invalid_fields([FieldViolation("", "say who asks")])

    assert error.message == "request: say who asks"


def test_a_status_with_thousands_of_violations_still_fits_into_grpc_trailers() -> None:
    broken = [FieldViolation(f"events[{index}].item_id", "must be at most 128 bytes") for index in range(5_000)]

    status = to_status(invalid_fields(broken))

    assert status.ByteSize() < 8 * 1024 - 2 * len(status.message)
    (info,) = details(status, error_details_pb2.ErrorInfo)
    assert info.metadata["fieldViolations"] == "5000"


def test_a_status_reads_back_as_the_error_that_it_was() -> None:
    sent = ServiceError(
        ErrorReason.STORAGE_FULL,
        "the disk is full",
        metadata={"path": "/x"},
        violations=[FieldViolation("a.b", "bad")],
        retry_after_ms=700,
    )

    read = from_status(to_status(sent))

    assert (read.reason.name, read.code, read.message) == ("STORAGE_FULL", StatusCode.RESOURCE_EXHAUSTED, sent.message)
    assert (read.metadata, read.violations, read.retry_after_ms) == (sent.metadata, sent.violations, 700)


def test_a_reason_of_the_future_is_read_with_its_name_and_code() -> None:
    sent = to_status(ServiceError(Reason("NOT_YET_KNOWN", StatusCode.ABORTED), "hm"))

    assert from_status(sent).reason == Reason("NOT_YET_KNOWN", StatusCode.ABORTED)


def test_an_answer_of_a_peer_is_read_with_its_reason() -> None:
    status = to_status(ServiceError(ErrorReason.NO_BUNDLE, "none yet", metadata={"registry": "r"}))
    answered = rpc_error(StatusCode.UNAVAILABLE, "none yet", status.SerializeToString())

    read = from_rpc_error(answered)

    assert (read.reason.name, read.metadata) == ("NO_BUNDLE", {"registry": "r"})


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (StatusCode.UNAVAILABLE, ErrorReason.DEPENDENCY_UNAVAILABLE),
        (StatusCode.DEADLINE_EXCEEDED, ErrorReason.DEADLINE_EXCEEDED),
        (StatusCode.INVALID_ARGUMENT, ErrorReason.INVALID_FIELD),
        (StatusCode.ABORTED, Reason("ABORTED", StatusCode.ABORTED)),
    ],
)
@pytest.mark.parametrize("trailer", [None, b"\xff\xff not a status"])
def test_an_answer_without_readable_details_is_read_by_its_code(
    code: StatusCode, reason: Reason, trailer: bytes | None
) -> None:
    read = from_rpc_error(rpc_error(code, "gone", trailer))

    assert (read.reason, read.message) == (reason, "gone")


def test_a_dependency_that_fails_is_named_with_the_code_that_it_gave() -> None:
    error = unavailable_dependency("ranking", rpc_error(StatusCode.INTERNAL, "secret text"))

    assert error.reason is ErrorReason.DEPENDENCY_UNAVAILABLE
    assert error.metadata == {"dependency": "ranking", "code": "INTERNAL"}
    assert "secret text" not in error.message
