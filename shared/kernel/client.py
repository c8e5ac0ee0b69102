"""Channels to other services: deadlines and request ids go along by themselves, and only harmless calls are repeated.

A plain wrapper around the channel instead of grpc.aio's client interceptors: those run every call in a task of its own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Self

import grpc
from opentelemetry.trace import Span

from shared.kernel import tracing
from shared.kernel.context import remaining_ms, request_id
from shared.kernel.errors import NoTimeLeft
from shared.kernel.lines import Line, PlainLine, TlsLine
from shared.kernel.telemetry import MetadataKey
from shared.kernel.tls import Tls

FIRST_RECONNECT_MS: Final = 100
LAST_RECONNECT_MS: Final = 1_000
"""A service that comes back is noticed within a second; gRPC's own limit is two minutes."""
REPEATED: Final = ("UNAVAILABLE", "CANCELLED")
"""A gRPC server that stops ends calls with CANCELLED that came and that no handler has taken on yet, whatever time it
has to drain (https://github.com/grpc/grpc/issues/41785). Who cancels a call itself does not see it repeated."""
LEAST_RESOLUTION_MS: Final = 1_000
"""A name is asked for again after this, when an address of it fails. With gRPC's own 30 s, all pods of a service may
have been replaced meanwhile: seen, 30 s of failing calls."""
MIN_BACKOFF_MS: Final = 5
"""gRPC (seen with 1.85) never repeats a call whose wait, shortened by its jitter, rounds down to 0 ms: the call then
hangs until its deadline. From 2 ms on that was not seen in 60 of 60 calls."""


class _NotMade:
    """A call for which no time was left. It fails where calls fail, when it is waited for: not where it is begun."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __await__(self) -> Generator[None, None, NoReturn]:
        raise NoTimeLeft(self._method)
        yield  # makes this a generator

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> NoReturn:
        raise NoTimeLeft(self._method)

    def cancel(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class ChannelOptions:
    """How to call a service.

    Attributes:
        timeout_ms: Longest wait for a call with a single answer. The caller's own deadline shortens it further.
        deadline_margin_ms: Part of the caller's deadline that is kept for answering without the call.
        idempotent_methods: `winnow.v1.FeatureService/GetUserState`: repeated when it ended with one of `REPEATED`.
        max_attempts: Attempts of an idempotent call, the first included.
        initial_backoff_ms: Wait before the first repeat, doubled for each further one; at least `MIN_BACKOFF_MS`.
        max_message_bytes: Largest answer that is taken.
        keepalive_ms: Silence after which the peer is asked whether it is still there; 0: never. A server must allow
            it: gRPC's default, Ray Serve's too, cuts off who asks more than once in five minutes.
        tls: Shows our certificate and checks the peer's; None: plain text.
    """

    timeout_ms: int = 1_000
    deadline_margin_ms: int = 5
    idempotent_methods: tuple[str, ...] = ()
    max_attempts: int = 3
    initial_backoff_ms: int = 20
    max_message_bytes: int = 16 * 1024 * 1024
    keepalive_ms: int = 30_000
    tls: Tls | None = None

    def __post_init__(self) -> None:
        if self.initial_backoff_ms < MIN_BACKOFF_MS:
            raise ValueError(f"initial_backoff_ms is {self.initial_backoff_ms}; the least is {MIN_BACKOFF_MS}")


@asynccontextmanager
async def open_channel(address: str, options: ChannelOptions | None = None) -> AsyncIterator[grpc.aio.Channel]:
    """Opens one channel for all calls to a service. It connects at the first call and reconnects by itself.

    Args:
        address: `host:port`, or any gRPC target such as `ipv4:127.0.0.1:40000,127.0.0.1:40001` or `dns:///feature:50053`.
        options: How to call.
    """
    chosen = options or ChannelOptions()
    arguments = _channel_arguments(chosen)
    line: Line
    if chosen.tls:
        line = TlsLine(
            chosen.tls,
            lambda material: grpc.aio.secure_channel(address, material.channel_credentials(), arguments),
        )
    else:
        line = PlainLine(grpc.aio.insecure_channel(address, arguments))
    async with _RequestChannel(line, chosen) as channel:
        yield channel


class _RequestChannel(grpc.aio.Channel):
    """A channel whose calls belong to the current request: they share its deadline, its id and its trace."""

    def __init__(self, line: Line, options: ChannelOptions) -> None:
        self._line = line
        self._options = options
        self._ending: set[asyncio.Task[None]] = set()

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        timeout_ms = self._options.timeout_ms
        return self._bound(method, lambda channel: channel.unary_unary(method, *args, **kwargs), timeout_ms)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._bound(method, lambda channel: channel.unary_stream(method, *args, **kwargs), None)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._bound(method, lambda channel: channel.stream_unary(method, *args, **kwargs), None)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return self._bound(method, lambda channel: channel.stream_stream(method, *args, **kwargs), None)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:  # noqa: FBT001, FBT002 - gRPC's
        return self._line.channel().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._line.channel().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._line.channel().channel_ready()

    async def close(self, grace: float | None = None) -> None:
        await self._line.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _bound(
        self, method: str, bind: Callable[[grpc.aio.Channel], Callable[..., Any]], own_timeout_ms: int | None
    ) -> Callable[..., Any]:
        margin_ms = self._options.deadline_margin_ms
        name = method.lstrip("/")
        bound: tuple[grpc.aio.Channel, Callable[..., Any]] | None = None

        def call(*request: Any, timeout: float | None = None, metadata: Any = None, **options: Any) -> Any:
            nonlocal bound
            asked_ms = own_timeout_ms if timeout is None else timeout * 1000
            timeout_s = _timeout_s(asked_ms, margin_ms)
            if timeout_s == 0:
                return _NotMade(name)
            span, headers = tracing.start_client_span(name)
            if current := request_id():
                headers[MetadataKey.REQUEST_ID.value] = current
            sent = (*(metadata or ()), *headers.items())
            channel = self._line.channel()
            if bound is None or bound[0] is not channel:
                bound = channel, bind(channel)
            started = bound[1](*request, timeout=timeout_s, metadata=sent, **options)
            self._line.began(started)
            if span.is_recording():
                self._end_with(started, span)
            return started

        return call

    def _end_with(self, started: grpc.aio.Call, span: Span) -> None:
        async def end() -> None:
            tracing.end_span(span, await started.code())

        task = asyncio.create_task(end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


def _timeout_s(asked_ms: float | None, margin_ms: int) -> float | None:
    """The shorter of what was asked for and what is left of the current request; None: no limit."""
    left = remaining_ms()
    limits = [each for each in (asked_ms, None if left is None else max(0, left - margin_ms)) if each is not None]
    return min(limits) / 1000 if limits else None


def _channel_arguments(options: ChannelOptions) -> list[tuple[str, Any]]:
    arguments: list[tuple[str, Any]] = [
        ("grpc.service_config", json.dumps(_service_config(options))),
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.initial_reconnect_backoff_ms", FIRST_RECONNECT_MS),
        ("grpc.min_reconnect_backoff_ms", FIRST_RECONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", LAST_RECONNECT_MS),
        ("grpc.dns_min_time_between_resolutions_ms", LEAST_RESOLUTION_MS),
    ]
    if options.keepalive_ms:
        arguments += [("grpc.keepalive_time_ms", options.keepalive_ms), ("grpc.keepalive_permit_without_calls", 1)]
    return arguments


def _service_config(options: ChannelOptions) -> dict[str, Any]:
    """GRPC's own retries (https://grpc.io/docs/guides/retry): only of `REPEATED`, only methods that were named."""
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if options.idempotent_methods and options.max_attempts > 1:
        names = [method.rpartition("/") for method in options.idempotent_methods]
        policy = {
            "maxAttempts": options.max_attempts,
            "initialBackoff": f"{options.initial_backoff_ms / 1000}s",
            "maxBackoff": f"{options.initial_backoff_ms * 2**options.max_attempts / 1000}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": list(REPEATED),
        }
        methods = [{"service": service, "method": method} for service, _, method in names]
        config["methodConfig"] = [{"name": methods, "retryPolicy": policy}]
        config["retryThrottling"] = {"maxTokens": 100, "tokenRatio": 0.1}
    return config
