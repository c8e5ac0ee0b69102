"""Where and how a replica's gRPC server listens: the settings that Ray Serve's direct ingress does not have.

Ray Serve 2.60 gives each replica any port of a range, on all interfaces. A ranker on one machine must be found at one
known address after each restart, and must not be reachable from outside. Both are decided by one function of Ray,
`add_grpc_address`, which this module replaces in the replica's own process; so does the port between replicas.
"""

from __future__ import annotations

from typing import Any, Final

import grpc
from ray.serve._private import default_impl
from ray.serve._private import replica as serve_replica
from ray.serve._private.constants import DEFAULT_GRPC_SERVER_OPTIONS

from services.ranking.ingress import METHODS
from services.ranking.replacement import replace_function

SERVER_OPTIONS: Final = (
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # callers may notice a frozen replica by keep-alive
    ("grpc.keepalive_permit_without_calls", 1),
)


def bind_ingress(address: str) -> None:
    """Let this replica listen on `address`, and nowhere else.

    gRPC listens with SO_REUSEPORT, so a replica's successor can take over the address while the replica still drains.

    Raises:
        AttributeError: this release of Ray has none of the functions to replace.
    """

    def add_grpc_address(server: grpc.aio.Server, _address: str) -> None:
        server.add_insecure_port(address)  # a RuntimeError, of a port in foreign hands, makes Ray Serve try again

    def add_port_to_grpc_server(server: grpc.aio.Server, _address: str) -> int:
        return server.add_insecure_port("127.0.0.1:0")

    replace_function(default_impl, "add_grpc_address", add_grpc_address)
    replace_function(serve_replica, "add_port_to_grpc_server", add_port_to_grpc_server)
    DEFAULT_GRPC_SERVER_OPTIONS.extend(SERVER_OPTIONS)


def register(servicer: Any, server: grpc.aio.Server) -> None:
    """Add the methods to a replica's server, each without a deserializer: they get the bytes as they came.

    Ray Serve calls it by its import path, see `deployment.grpc_options`.
    """
    for service in sorted({method.service for method in METHODS}):
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            method.name: grpc.unary_unary_rpc_method_handler(getattr(servicer, method.name))
            for method in METHODS
            if method.service == service
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
