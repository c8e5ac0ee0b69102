"""A gRPC server that hosts services: honest health, reflection, limits, and an end that loses no answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from shared.kernel import validation
from shared.kernel.admission import Admission, RequestLimits
from shared.kernel.background import Supervised
from shared.kernel.backlog import PrivateAddress
from shared.kernel.config import ConfigError
from shared.kernel.gate import Gate
from shared.kernel.interceptors import RequestInterceptor
from shared.kernel.readiness import LIVE, Readiness
from shared.kernel.tls import Tls

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
WHOLE_SERVER: Final = ""
LAST_PORT: Final = 65_535
HARD_LIMIT_FACTOR: Final = 4
"""gRPC itself drops messages above this multiple of the limit; up to it the interceptor answers with a rich error."""
HANDSHAKE_TIMEOUT_MS: Final = 10_000
"""Who connects and says nothing is cut off; gRPC itself would wait two minutes."""
CALLS_PER_CONNECTION: Final = 1_000
"""Calls that may be open on one connection, those that never send their request too."""
STREAM_WINDOW_BYTES: Final = 256 << 10
"""What gRPC reads ahead of a stream's handler."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Hosted:
    """What a service gives to be hosted.

    Attributes:
        service_names: Full proto names, as health and reflection tell them.
        register: Adds the servicers to the server, by the generated `add_..._to_server`.
        readiness: Whether the service can do its work.
    """

    service_names: tuple[str, ...]
    register: Callable[[grpc.aio.Server], None]
    readiness: Readiness


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a server behaves; the defaults fit a service inside a cluster.

    Attributes:
        limits: What one request may ask.
        reflection: Whether tools may ask which methods there are.
        connection_age_ms: Age at which a connection is told to end once its calls have; 0: never.
        lame_duck_ms: Time for which a stopping server says NOT_SERVING and still answers, so that load balancers turn
            away first; longer than their interval of asking.
        drain_grace_ms: Time that requests in flight get to end after that.
        keepalive_ms: Silence after which the server asks whether a caller is still there.
        keepalive_timeout_ms: Time that the caller has to say so.
        min_ping_interval_ms: Callers that ask more often are cut off.
        reuse_port: Whether other processes may listen on the same port; off, so that a taken port is an error.
    """

    limits: RequestLimits = field(default_factory=RequestLimits)
    reflection: bool = True
    connection_age_ms: int = 0
    lame_duck_ms: int = 0
    drain_grace_ms: int = 10_000
    keepalive_ms: int = 60_000
    keepalive_timeout_ms: int = 10_000
    min_ping_interval_ms: int = 5_000
    reuse_port: bool = False


class GrpcServer:
    """Hosts services on one address while its `async with` lasts.

    Args:
        address: `host:port`; port 0 takes a free one, `address` then tells it.
        hosted: The services.
        options: How the server behaves.
        tls: Shows our certificate and takes only callers that have one; None: plain text.
        gate: Who may call, and how often; None: everybody.
    """

    def __init__(
        self,
        address: str,
        hosted: Sequence[Hosted],
        options: ServerOptions | None = None,
        tls: Tls | None = None,
        gate: Gate | None = None,
    ) -> None:
        self.address = address
        self._hosted = tuple(hosted)
        self._options = options or ServerOptions()
        self._tls = tls
        self._gate = gate or Gate()
        self._admission = Admission(self._options.limits)
        self._health = health.aio.HealthServicer()
        self._watching = Supervised()
        self._private = PrivateAddress() if self._options.limits.backlog_ms else None

    async def __aenter__(self) -> Self:
        interceptor = RequestInterceptor(self._options.limits, self._admission, self._gate)
        self._server = grpc.aio.server(interceptors=[interceptor], options=_channel_arguments(self._options))
        self._register()
        validation.warm(self._service_names())
        self.address = self._bind()
        if self._private:
            self._server.add_insecure_port(self._private.address)
        await self._tell_health()
        await self._watching.__aenter__()
        for each in self._hosted:
            self._watching.start(f"health of {', '.join(each.service_names)}", partial(self._follow, each.readiness))
        await self._server.start()
        if self._private:
            self._watching.start("backlog", partial(self._admission.backlog.watch, self._private.address))
        log.info("server.started", address=self.address, services=self._service_names())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._watching.__aexit__(None, None, None)
        await self._health.enter_graceful_shutdown()
        log.info("server.draining", address=self.address)
        await asyncio.sleep(self._options.lame_duck_ms / 1000)
        self._admission.drain()
        await self._server.stop(self._options.drain_grace_ms / 1000)
        if self._private:
            self._private.close()
        log.info("server.stopped", address=self.address)

    async def wait_for_termination(self) -> None:
        """Returns when the server has stopped."""
        await self._server.wait_for_termination()

    def _service_names(self) -> tuple[str, ...]:
        return tuple(name for each in self._hosted for name in each.service_names)

    def _register(self) -> None:
        server: Any = _OneQueue(self._server)
        for each in self._hosted:
            each.register(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._options.reflection:
            names = (*self._service_names(), health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)  # asks of which kind the server is

    def _bind(self) -> str:
        host, _, asked = self.address.rpartition(":")
        if asked.isdecimal() and int(asked) > LAST_PORT:  # gRPC would take the rest of a division
            raise ConfigError(f"cannot listen on {self.address}: ports end at {LAST_PORT}; set another address")
        try:
            if self._tls:
                port = self._server.add_secure_port(self.address, self._tls.server_credentials())
            else:
                port = self._server.add_insecure_port(self.address)
        except RuntimeError as error:
            raise ConfigError(
                f"cannot listen on {self.address}: another process has the port, or the address is not this machine's; "
                f"stop that process (`ss -ltnp` names it) or set another address"
            ) from error
        return f"{host}:{port}"

    async def _follow(self, readiness: Readiness) -> None:
        while True:
            changed = readiness.next_change()
            await self._tell_health()
            await changed.wait()

    async def _tell_health(self) -> None:
        for each in self._hosted:
            for name in each.service_names:
                await self._health.set(name, SERVING if each.readiness.ready else NOT_SERVING)
        await self._health.set(LIVE, SERVING)
        everything = all(each.readiness.ready for each in self._hosted)
        await self._health.set(WHOLE_SERVER, SERVING if everything else NOT_SERVING)


class _OneQueue:
    """A server to which generated code cannot register single methods, only services.

    gRPC (seen with 1.85.1) keeps a queue for each registered method, and takes one call from it per turn of the event
    loop: calls to a busy method were seen to wait for a second while the process answered each in 20 ms. Without, all
    methods share one queue, whose length `Backlog` can measure.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, service_name: str, method_handlers: object) -> None:
        """Leave them to the generic handlers, which know the same methods."""


def _channel_arguments(options: ServerOptions) -> list[tuple[str, Any]]:
    hard_limit = HARD_LIMIT_FACTOR * options.limits.max_request_bytes
    arguments: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", hard_limit),
        ("grpc.max_send_message_length", -1),
        ("grpc.keepalive_time_ms", options.keepalive_ms),
        ("grpc.keepalive_timeout_ms", options.keepalive_timeout_ms),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", options.min_ping_interval_ms),
        ("grpc.so_reuseport", int(options.reuse_port)),
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_TIMEOUT_MS),
        ("grpc.max_concurrent_streams", CALLS_PER_CONNECTION),
        # Left alone, gRPC lets each stream's window grow with the speed of its connection: a producer that nobody reads
        # from was seen to park 6 MB in this process.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", STREAM_WINDOW_BYTES),
    ]
    if options.connection_age_ms:
        arguments.append(("grpc.max_connection_age_ms", options.connection_age_ms))
    return arguments
