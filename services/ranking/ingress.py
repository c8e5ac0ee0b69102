"""What an interceptor does in the other services, for a server that has none: Ray Serve's direct ingress.

Each call is one `Call` of the kernel (id, metrics, span, one log line), needs the token, is measured before it is
decoded, checked against the contract's rules, and ends as a status with exactly one ErrorInfo. Ray Serve loses the
metadata of errors that are raised, and sends their text to the caller; so errors are set on the context and the method
returns.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message

from shared.kernel.call import Arrival, Call
from shared.kernel.errors import STATUS_DETAILS_KEY, ErrorReason, ServiceError, invalid_fields, to_status
from shared.kernel.telemetry import MetadataKey
from shared.kernel.validation import violations

AUTHORIZATION: Final = "authorization"
BEARER: Final = "Bearer "

Request = TypeVar("Request", bound=Message)


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the ingress.

    Attributes:
        open_to_all: answers without the token: a probe of Kubernetes has none.
    """

    service: str
    name: str
    open_to_all: bool = False

    @property
    def full_name(self) -> str:
        """As in metrics and logs."""
        return f"{self.service}/{self.name}"


RANK: Final = Method("winnow.v1.RankingService", "Rank")
CHECK: Final = Method("grpc.health.v1.Health", "Check", open_to_all=True)
METHODS: Final = (RANK, CHECK)


class Context(Protocol):
    """What is used of Ray Serve's gRPC context."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]]:
        """What the caller sent along."""

    def peer(self) -> str:
        """The caller's address."""

    def set_code(self, code: grpc.StatusCode) -> None:
        """The status."""

    def set_details(self, details: str) -> None:
        """The status message."""

    def set_trailing_metadata(self, metadata: list[tuple[str, Any]]) -> None:
        """What goes back with the status."""


class Ingress:
    """Answers calls.

    Args:
        token: callers must send it as `authorization: Bearer TOKEN`.
        request_limit_bytes: larger requests are refused before they are decoded.
    """

    def __init__(self, token: str, request_limit_bytes: int) -> None:
        self._expected = f"{BEARER}{token}".encode()
        self._limit = request_limit_bytes

    async def answer(
        self, method: Method, request: bytes, context: Context, behaviour: Callable[[bytes], Awaitable[Message]]
    ) -> Message:
        """Run `behaviour` on the request's bytes; its errors become the status of the call."""
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        call = Call(Arrival(method.full_name, metadata, context.peer(), None))
        identity = (MetadataKey.REQUEST_ID.value, call.request_id)
        context.set_trailing_metadata([identity])
        code = grpc.StatusCode.OK
        try:
            self._admit(method, request, metadata)
            return await behaviour(request)
        except asyncio.CancelledError:
            code = call.cancelled_code()
            raise
        except Exception as error:  # noqa: BLE001 - this ingress has no interceptor; here is the one place
            told = call.failure(error)
            code = told.code
            context.set_code(code)
            context.set_details(told.message)
            context.set_trailing_metadata([identity, (STATUS_DETAILS_KEY, to_status(told).SerializeToString())])
            return Empty()
        finally:
            call.finish(code)

    def _admit(self, method: Method, request: bytes, metadata: dict[str, str]) -> None:
        given = metadata.get(AUTHORIZATION, "").encode()
        if not method.open_to_all and not hmac.compare_digest(given, self._expected):
            message = "the call needs the ranker's token as `authorization: Bearer TOKEN`; see WINNOW_RANKING_TOKEN"
            raise ServiceError(ErrorReason.UNAUTHENTICATED, message)
        if len(request) > self._limit:
            raise ServiceError(
                ErrorReason.MESSAGE_TOO_LARGE,
                f"the message has {len(request)} bytes, the limit is {self._limit}; send fewer candidates at once",
                metadata={"bytes": str(len(request)), "limitBytes": str(self._limit)},
            )


def decode(kind: type[Request], raw: bytes) -> Request:
    """The request, checked against the rules that stand in the contract.

    Raises:
        ServiceError: INVALID_FIELD with all broken rules, or the bytes are no such message.
    """
    try:
        message = kind.FromString(raw)
    except DecodeError as error:
        raise ServiceError(ErrorReason.INVALID_FIELD, f"the bytes are no {kind.DESCRIPTOR.full_name}") from error
    if broken := violations(message):
        raise invalid_fields(broken)
    return message
