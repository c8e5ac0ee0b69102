"""The request that is being answered: its id, its deadline and what its log line will say.

Kept in a context variable, so that child tasks share it and nobody has to pass it along.
"""

from __future__ import annotations

import time
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field


@dataclass(slots=True)
class RequestContext:
    """One request in flight.

    Attributes:
        request_id: Who asked gave it, or it was made here.
        deadline: On `time.monotonic()`'s scale, seconds; None: no deadline.
        fields: What `annotate` adds to the canonical log line.
        details: What `detail` adds to the line of a slow request.
    """

    request_id: str
    deadline: float | None = None
    fields: dict[str, object] = field(default_factory=dict)
    details: dict[str, object] = field(default_factory=dict)


_current: ContextVar[RequestContext | None] = ContextVar("request", default=None)


def enter(context: RequestContext) -> None:
    """Makes `context` the current one for this task and the tasks that it starts."""
    _current.set(context)


def outside() -> Context:
    """A copy of the present context that belongs to no request, for work that outlives the request that began it."""
    context = copy_context()
    context.run(_current.set, None)
    return context


def annotate(**fields: object) -> None:
    """Adds fields to the canonical log line of the current request; outside a request it does nothing."""
    if context := _current.get():
        context.fields.update(fields)


def detail(**details: object) -> None:
    """Adds fields to the second line that the current request gets if it is slow; outside a request it does nothing."""
    if context := _current.get():
        context.details.update(details)


def request_id() -> str:
    """The id of the current request; empty outside a request."""
    context = _current.get()
    return context.request_id if context else ""


def remaining_ms() -> int | None:
    """What is left of the current request's deadline, never below 0; None where there is no deadline."""
    context = _current.get()
    if context is None or context.deadline is None:
        return None
    return max(0, int((context.deadline - time.monotonic()) * 1000))
