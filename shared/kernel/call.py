"""One request's life, whatever carries it: id, deadline, span, metrics, what the caller is told, one log line.

`interceptors.py` drives it under grpc.aio; a transport without interceptors (Ray Serve's ingress) can do the same.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

import structlog
from grpc import StatusCode
from prometheus_client import Counter, Histogram

from shared.kernel import tracing
from shared.kernel.context import RequestContext, enter, remaining_ms
from shared.kernel.errors import ErrorReason, ServiceError
from shared.kernel.slowness import is_slow
from shared.kernel.telemetry import RPC_EVENT, RPC_HANDLED, RPC_SECONDS, RPC_STARTED, SLOW_EVENT, LogField, MetadataKey

REQUEST_ID: Final = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
"""Ids that are taken from callers; anything else is replaced, so that no log line can be forged."""
QUIET_PREFIX: Final = "grpc."
"""Health and reflection are asked every few seconds: their lines are for debugging only."""
FAULTS: Final = frozenset({StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.DATA_LOSS})

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Arrival:
    """What the transport knows of a request.

    Attributes:
        method: Full name, `winnow.v1.FeatureService/GetUserState`.
        metadata: The text entries of the caller's metadata.
        peer: Address of the caller.
        budget_s: Seconds until the deadline; None: none.
        streams: Lasts as long as somebody listens.
    """

    method: str
    metadata: Mapping[str, str]
    peer: str
    budget_s: float | None
    streams: bool = False


class Call:
    """A request in flight; becomes the task's current request when it is made. `finish` must be called once."""

    def __init__(self, arrival: Arrival) -> None:
        self.request_id = _request_id(arrival.metadata)
        self._arrival = arrival
        self._error: BaseException | None = None
        self._started = time.monotonic()
        deadline = None if arrival.budget_s is None else self._started + arrival.budget_s
        self._context = RequestContext(self.request_id, deadline)
        enter(self._context)
        self._span = tracing.start_server_span(
            arrival.method, arrival.metadata, self.request_id, streams=arrival.streams
        )
        _started(arrival.method).inc()

    def failure(self, error: Exception) -> ServiceError:
        """What the caller is told of an exception: of one that is not a ServiceError, nothing but the request's id."""
        if isinstance(error, ServiceError):
            told = error
        elif isinstance(error, TimeoutError) and remaining_ms() == 0:
            told = self._deadline_exceeded()
        else:
            message = f"internal error; the service's log has it under request id {self.request_id}"
            told = ServiceError(ErrorReason.INTERNAL, message, metadata={"requestId": self.request_id})
        self._context.fields[LogField.REASON] = told.reason.name
        self._error = error if told.code in FAULTS else None
        return told

    def cancelled_code(self) -> StatusCode:
        """Why the transport cancelled the request: its deadline passed, or the caller went away."""
        return StatusCode.DEADLINE_EXCEEDED if remaining_ms() == 0 else StatusCode.CANCELLED

    def finish(self, code: StatusCode) -> None:
        """Ends the request: metrics, span, and the one line of the log."""
        seconds = time.monotonic() - self._started
        method = self._arrival.method
        handled, took = _handled(method, code)
        handled.inc()
        took.observe(seconds)
        tracing.end_span(self._span, code)
        line = {
            **self._context.fields,
            LogField.METHOD: method,
            LogField.CODE: code.name,
            LogField.DURATION_MS: round(seconds * 1000, 3),
            LogField.PEER: self._arrival.peer,
            LogField.REQUEST_ID: self.request_id,
        }
        if code in FAULTS:
            log.error(RPC_EVENT, exc_info=self._error, **line)
        elif method.startswith(QUIET_PREFIX):
            log.debug(RPC_EVENT, **line)
        else:
            log.info(RPC_EVENT, **line)
        if is_slow(seconds * 1000) and not self._arrival.streams:
            log.warning(SLOW_EVENT, **line, **self._context.details)

    def _deadline_exceeded(self) -> ServiceError:
        budget_ms = str(round((self._arrival.budget_s or 0) * 1000))
        message = f"not done within {budget_ms} ms; ask for less or allow more time"
        return ServiceError(ErrorReason.DEADLINE_EXCEEDED, message, metadata={"budgetMs": budget_ms})


@cache
def _started(method: str) -> Counter:
    return RPC_STARTED.labels(method)


@cache
def _handled(method: str, code: StatusCode) -> tuple[Counter, Histogram]:
    """The metrics of a method and code, kept because prometheus_client's own look-up costs more than its counting."""
    return RPC_HANDLED.labels(method, code.name), RPC_SECONDS.labels(method, code.name)


def _request_id(metadata: Mapping[str, str]) -> str:
    given = metadata.get(MetadataKey.REQUEST_ID, "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
