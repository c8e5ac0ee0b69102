"""What Winnow measures and says about itself: every metric, label, log field and span attribute has its name here.

A service declares its own metrics in its own `telemetry.py`, with `counter`, `gauge` and `histogram` from here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from prometheus_client import Counter, Gauge, Histogram, start_http_server

from shared.kernel.config import ConfigError

NAMESPACE: Final = "winnow"
LATENCY_BUCKETS_SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Label(StrEnum):
    """Labels of metrics. Their values come from small closed sets, never from a request."""

    METHOD = "method"  # winnow.v1.FeatureService/GetUserState
    CODE = "code"  # OK, UNAVAILABLE, ...
    STAGE = "stage"
    REASON = "reason"
    DEPENDENCY = "dependency"
    TASK = "task"
    SOURCE = "source"
    FILTER = "filter"
    COMPONENT = "component"  # what of a process uses a bundle
    VERSION = "version"  # the one in use: the series of an older one is taken away
    SURFACE = "surface"  # names come from requests: who uses it must bound their number
    ARM = "arm"
    POSITION = "position"
    EVENT = "event"
    FEATURE = "feature"


class LogField(StrEnum):
    """Fields of the canonical line, one a request (its event is `RPC_EVENT`)."""

    METHOD = "method"
    CODE = "code"
    REASON = "reason"  # of ErrorReason; absent when OK
    DURATION_MS = "duration_ms"
    PEER = "peer"
    CLIENT = "client"  # the policy's name for the caller, else its certificate's; absent without a certificate
    REQUEST_ID = "request_id"


RPC_EVENT: Final = "rpc"
SLOW_EVENT: Final = "rpc.slow"
"""A second line for a request that was slow, with what only slow requests are worth (`detail`)."""


class SpanAttribute(StrEnum):
    """Attributes of spans, by OpenTelemetry's semantic conventions where they have one."""

    SYSTEM = "rpc.system"
    METHOD = "rpc.method"
    CODE = "rpc.grpc.status_code"
    REQUEST_ID = "winnow.request_id"
    STREAM = "winnow.stream"


class MetadataKey(StrEnum):
    """Keys of gRPC metadata."""

    REQUEST_ID = "x-request-id"


def counter(name: str, description: str, labels: Sequence[str] = ()) -> Counter:
    """Declares a count of things that happened; Prometheus shows it as `winnow_<name>_total`."""
    return Counter(name, description, labels, namespace=NAMESPACE)


def gauge(name: str, description: str, labels: Sequence[str] = ()) -> Gauge:
    """Declares a value that goes up and down; its unit ends the name."""
    return Gauge(name, description, labels, namespace=NAMESPACE)


def histogram(
    name: str, description: str, labels: Sequence[str] = (), buckets: Sequence[float] = LATENCY_BUCKETS_SECONDS
) -> Histogram:
    """Declares a distribution; its unit ends the name."""
    return Histogram(name, description, labels, namespace=NAMESPACE, buckets=buckets)


RPC_STARTED: Final = counter("rpc_started", "Requests that began.", [Label.METHOD])
RPC_HANDLED: Final = counter("rpc_handled", "Requests that ended, by canonical code.", [Label.METHOD, Label.CODE])
RPC_SECONDS: Final = histogram("rpc_seconds", "Time from request to last answer.", [Label.METHOD, Label.CODE])
STAGE_SECONDS: Final = histogram("stage_seconds", "Time of one stage of the request path.", [Label.STAGE])
DEGRADED: Final = counter("degraded", "Answers that lost quality, by stage and reason.", [Label.STAGE, Label.REASON])
BREAKER_OPEN: Final = gauge("breaker_open", "1 while calls to a dependency are refused here.", [Label.DEPENDENCY])
REFUSED: Final = counter("rpc_refused", "Requests refused before any work: who asked, or how often.", [Label.REASON])
BACKLOG_SECONDS: Final = gauge("rpc_backlog_seconds", "How long a call waits before it is taken up.")
STREAMS: Final = gauge("rpc_streams", "Streams that are open.")
CERTIFICATE_EXPIRES: Final = gauge("tls_certificate_expires_seconds", "When our certificate ends, Unix time; 0: none.")
TASK_FAILURES: Final = counter("task_failures", "Background tasks that failed and began again.", [Label.TASK])


@contextmanager
def serve_metrics(host: str, port: int) -> Iterator[int]:
    """Answers Prometheus on `http://host:port/metrics` from a thread of its own; gives the port, chosen when 0.

    Raises:
        ConfigError: The address cannot be had.
    """
    try:
        server, thread = start_http_server(port, host)
    except OSError as error:
        raise ConfigError(
            f"metrics cannot be served on {host}:{port}: {error}; free the port or set another"
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
