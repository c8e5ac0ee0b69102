"""What can go wrong, said once: a reason, its canonical code, and the `google.rpc.Status` that carries both.

Every error that leaves a service is a canonical code plus exactly one `ErrorInfo`, as AIP-193 asks
(https://google.aip.dev/193). The vocabulary is `winnow/v1/error_reason.proto`; a test keeps the two in step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

DOMAIN: Final = "winnow.v1"
STATUS_DETAILS_KEY: Final = "grpc-status-details-bin"
RETRY_AFTER_MS: Final = 1_000
RETRIABLE: Final = frozenset({StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED})
CODES: Final[Mapping[int, StatusCode]] = {code.value[0]: code for code in StatusCode}
MESSAGE_VIOLATIONS: Final = 3
"""Violations told in the message itself; BadRequest lists all of them."""
MAX_MESSAGE_CHARACTERS: Final = 500
MAX_VIOLATIONS_BYTES: Final = 4_096
"""A status travels in HTTP/2 trailers, which gRPC cuts off from 8 KiB on: of very many violations the first are told,
and the metadata `fieldViolations` says how many there are."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a request failed: the contract's name for it and the canonical code that goes with it.

    Attributes:
        name: Value of the proto enum without its prefix.
        code: Canonical status code.
        retry_after_ms: When to try again, where it differs from `RETRY_AFTER_MS`. Sent with retriable codes only; no
            part of the reason's identity, so a reason read from a peer equals ours.
    """

    name: str
    code: StatusCode
    retry_after_ms: int | None = field(default=None, compare=False)


class ErrorReason:
    """The reasons that any service may give; what only one service says, that service declares as a `Reason`."""

    INVALID_FIELD: Final = Reason("INVALID_FIELD", StatusCode.INVALID_ARGUMENT)
    PAGE_TOKEN_INVALID: Final = Reason("PAGE_TOKEN_INVALID", StatusCode.INVALID_ARGUMENT)
    PAGE_TOKEN_EXPIRED: Final = Reason("PAGE_TOKEN_EXPIRED", StatusCode.INVALID_ARGUMENT)
    WATERMARK_INVALID: Final = Reason("WATERMARK_INVALID", StatusCode.INVALID_ARGUMENT)
    STORAGE_FULL: Final = Reason("STORAGE_FULL", StatusCode.RESOURCE_EXHAUSTED, 30_000)
    STORAGE_UNAVAILABLE: Final = Reason("STORAGE_UNAVAILABLE", StatusCode.UNAVAILABLE)
    OVERLOADED: Final = Reason("OVERLOADED", StatusCode.RESOURCE_EXHAUSTED, 200)
    MESSAGE_TOO_LARGE: Final = Reason("MESSAGE_TOO_LARGE", StatusCode.RESOURCE_EXHAUSTED)
    DEADLINE_EXCEEDED: Final = Reason("DEADLINE_EXCEEDED", StatusCode.DEADLINE_EXCEEDED)
    NO_BUNDLE: Final = Reason("NO_BUNDLE", StatusCode.UNAVAILABLE, 5_000)
    DEPENDENCY_UNAVAILABLE: Final = Reason("DEPENDENCY_UNAVAILABLE", StatusCode.UNAVAILABLE)
    UNAUTHENTICATED: Final = Reason("UNAUTHENTICATED", StatusCode.UNAUTHENTICATED)
    FORBIDDEN: Final = Reason("FORBIDDEN", StatusCode.PERMISSION_DENIED)
    NOT_READY: Final = Reason("NOT_READY", StatusCode.UNAVAILABLE)
    INTERNAL: Final = Reason("INTERNAL", StatusCode.INTERNAL)
    NOT_INSTALLED: Final = Reason("NOT_INSTALLED", StatusCode.UNIMPLEMENTED)


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One broken rule: the dotted path of the field in the request, and what is wrong with it."""

    field: str
    description: str


class ServiceError(Exception):
    """A failure that the caller is told about.

    Args:
        reason: Why, from `ErrorReason` or the service's own.
        message: One sentence for people that names the thing and the remedy; no content of users.
        metadata: The variables of the message, keys in lowerCamelCase.
        violations: Every broken rule of the request.
        retry_after_ms: When to try again, if not after the reason's own time.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[FieldViolation] = (),
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        self._retry_after_ms = retry_after_ms

    @property
    def code(self) -> StatusCode:
        """The canonical code of the reason."""
        return self.reason.code

    @property
    def retry_after_ms(self) -> int | None:
        """Milliseconds after which a repeat may succeed; None where only another request can."""
        if self.code not in RETRIABLE:
            return None
        return self._retry_after_ms or self.reason.retry_after_ms or RETRY_AFTER_MS


class NoTimeLeft(grpc.aio.AioRpcError):
    """A call that was not made, because the deadline of the request that needs it is over; else like any time-out."""

    def __init__(self, method: str) -> None:
        nothing = grpc.aio.Metadata()
        super().__init__(StatusCode.DEADLINE_EXCEEDED, nothing, nothing, details=f"no time left to call {method}")


def invalid_fields(violations: Iterable[FieldViolation]) -> ServiceError:
    """The one error for all broken rules of a request."""
    found = tuple(violations)
    told = "; ".join(f"{each.field or 'request'}: {each.description}" for each in found[:MESSAGE_VIOLATIONS])
    more = f"; and {len(found) - MESSAGE_VIOLATIONS} more" if len(found) > MESSAGE_VIOLATIONS else ""
    metadata = {"fieldViolations": str(len(found))}
    return ServiceError(ErrorReason.INVALID_FIELD, f"{told}{more}", metadata=metadata, violations=found)


def to_status(error: ServiceError) -> status_pb2.Status:
    """The error as it goes over the wire: code, message and details with exactly one ErrorInfo."""
    info = error_details_pb2.ErrorInfo(reason=error.reason.name, domain=DOMAIN, metadata=error.metadata)
    details = [_packed(info)]
    if error.violations:
        details.append(_packed(_bad_request(error.violations)))
    if error.retry_after_ms is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(error.retry_after_ms)
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    return status_pb2.Status(code=error.code.value[0], message=error.message[:MAX_MESSAGE_CHARACTERS], details=details)


def from_status(status: status_pb2.Status) -> ServiceError:
    """Reads a `google.rpc.Status`; one without our ErrorInfo is read by its code. Must not be OK."""
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for detail in status.details:
        for known in (info, bad, retry):
            detail.Unpack(known)
    code = CODES.get(status.code, StatusCode.UNKNOWN)
    return ServiceError(
        Reason(info.reason, code) if info.domain == DOMAIN and info.reason else _reason_of(code),
        status.message,
        metadata=info.metadata,
        violations=[FieldViolation(each.field, each.description) for each in bad.field_violations],
        retry_after_ms=retry.retry_delay.ToMilliseconds() or None,
    )


def from_rpc_error(error: grpc.RpcError) -> ServiceError:
    """Reads what a peer answered, or what this side's transport says for it (no connection, deadline)."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return ServiceError(ErrorReason.INTERNAL, str(error))
    plain = status_pb2.Status(code=error.code().value[0], message=error.details() or "")
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            return from_status(_parsed(value) or plain)
    return from_status(plain)


def unavailable_dependency(dependency: str, error: grpc.RpcError) -> ServiceError:
    """What our own caller is told when a call to `dependency` failed and there is nothing to fall back on."""
    code = from_rpc_error(error).code.name
    message = f"{dependency} does not answer ({code}); try again later"
    return ServiceError(ErrorReason.DEPENDENCY_UNAVAILABLE, message, metadata={"dependency": dependency, "code": code})


def _bad_request(violations: Iterable[FieldViolation]) -> error_details_pb2.BadRequest:
    told = error_details_pb2.BadRequest()
    for each in violations:
        told.field_violations.add(field=each.field, description=each.description)
        if told.ByteSize() > MAX_VIOLATIONS_BYTES:
            del told.field_violations[-1]
            break
    return told


def _packed(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed


def _parsed(value: bytes) -> status_pb2.Status | None:
    try:
        return status_pb2.Status.FromString(value)
    except DecodeError:
        return None


_BY_CODE: Final[Mapping[StatusCode, Reason]] = {
    StatusCode.INVALID_ARGUMENT: ErrorReason.INVALID_FIELD,
    StatusCode.UNAVAILABLE: ErrorReason.DEPENDENCY_UNAVAILABLE,
    StatusCode.RESOURCE_EXHAUSTED: ErrorReason.OVERLOADED,
    StatusCode.DEADLINE_EXCEEDED: ErrorReason.DEADLINE_EXCEEDED,
    StatusCode.UNAUTHENTICATED: ErrorReason.UNAUTHENTICATED,
    StatusCode.PERMISSION_DENIED: ErrorReason.FORBIDDEN,
    StatusCode.UNIMPLEMENTED: ErrorReason.NOT_INSTALLED,
    StatusCode.INTERNAL: ErrorReason.INTERNAL,
}


def _reason_of(code: StatusCode) -> Reason:
    return _BY_CODE.get(code) or Reason(code.name, code)
