"""Asks a service in this container for its health, for container engines that only know commands.

usage: python -m shared.kernel.probe SERVICE      exit code 0: it can do its work
Kubernetes asks by gRPC itself and needs none of this.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Final

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

TIMEOUT_SECONDS: Final = 3.0
EVERYWHERE: Final = ("0.0.0.0", "[::]", "*")  # noqa: S104 - read here, not bound to


def asked_address(service: str, environ: Mapping[str, str]) -> str:
    """Where to ask: the service's plain health port where there is one, else its own address; from inside."""
    prefix = f"WINNOW_{service.upper()}"
    address = environ.get(f"{prefix}_HEALTH_ADDRESS") or environ.get(f"{prefix}_ADDRESS", "")
    host, _, port = address.rpartition(":")
    return f"127.0.0.1:{port}" if host in EVERYWHERE else address


def healthy(address: str, service: str = "") -> bool:
    """Whether the server at the address says SERVING of a service's name; of all it does, by default."""
    with grpc.insecure_channel(address) as channel:
        try:
            answer = HealthStub(channel).Check(HealthCheckRequest(service=service), timeout=TIMEOUT_SECONDS)
        except grpc.RpcError:
            return False
    return bool(answer.status == HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(0 if healthy(asked_address(sys.argv[1], os.environ)) else 1)
